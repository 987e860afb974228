"""What an integration's author writes against; an integration imports this and `errors`, and nothing else of ours.

An action is an async function under `@action`. Its name is its title, its docstring the help, its input model the form,
its output model what later steps can refer to; tools and documentation are made of the same. Its first argument is the
integration's own client of the API, a `Client`, which is made anew for each call.
"""

from landbridge.files import Contents, File, Piece, Reading
from landbridge.kit.actions import Action, Actions, action
from landbridge.kit.client import Client, Start
from landbridge.kit.forms import Given, Result, Wait
from landbridge.kit.steps import Checkpoint, Context, Workbench
from landbridge.outbound import Answer, Stream

__all__ = [
    "Action",
    "Actions",
    "Answer",
    "Checkpoint",
    "Client",
    "Contents",
    "Context",
    "File",
    "Given",
    "Piece",
    "Reading",
    "Result",
    "Start",
    "Stream",
    "Wait",
    "Workbench",
    "action",
]
