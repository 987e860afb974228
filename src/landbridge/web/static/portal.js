// The connect portal: a page in the SDK's iframe that draws what the SDK tells it, and asks the SDK to act.
//
// It holds no token and calls no server: the SDK, in the product's page, does. The SDK sends UI_UPDATE with the user and
// the integration to show; we answer with SDK_FUNCTION_INVOCATION. Whatever arrives is treated as text, never as markup.
"use strict";

const el = (id) => document.getElementById(id);
const answers = new Map();
let appOrigin = null;
let shown = null;
let nextId = 0;

function ask(type, ...parameters) {
  const id = `portal-${nextId++}`;
  return new Promise((resolve, reject) => {
    answers.set(id, { resolve, reject });
    window.parent.postMessage({ messageType: "SDK_FUNCTION_INVOCATION", type, parameters, id }, appOrigin);
  });
}

function accountOf(user, type) {
  const mine = (user.integrations && user.integrations[type]) || {};
  const all = mine.allCredentials || [];
  return { all, current: all.find((one) => one.id === mine.credentialId) || all[0] || null };
}

function paragraphs(text) {
  return text.trim().split(/\n\s*\n/).map((block) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = block;
    return paragraph;
  });
}

function problemOf(current, connectionError) {
  if (connectionError) {
    const { message } = connectionError.errorResponse || connectionError;
    return message || "The account could not be connected.";
  }
  return current && current.status !== "VALID" ? "This account has to be connected again. Your settings are kept." : "";
}

function draw({ user, integration, config, connectionError, options }) {
  const { current } = accountOf(user, integration.type);
  const isValid = current !== null && current.status === "VALID";
  const { name = "", email = "" } = (current && current.providerData) || {};
  const problem = problemOf(current, connectionError);
  el("icon").src = `integrations/${encodeURIComponent(integration.type)}.svg`;
  el("name").textContent = integration.name;
  el("description").textContent = config.description || "";
  el("overview").replaceChildren(...paragraphs(config.overview || ""));
  el("overview").hidden = current !== null;
  el("account").hidden = current === null;
  el("account").classList.toggle("valid", isValid);
  el("account-state").textContent = isValid ? "Connected" : "Not connected any more";
  el("account-name").textContent = name || email;
  el("account-email").textContent = name ? email : "";
  el("problem").hidden = !problem;
  el("problem").textContent = problem;
  el("connect").hidden = isValid;
  el("connect").textContent = current ? "Reconnect" : "Connect";
  el("disconnect").hidden = current === null;
  el("status").textContent = "";
  document.documentElement.style.setProperty("--accent", config.accentColor || "");
  shown = { integration, current, options };
}

const firstButton = () => ["connect", "disconnect", "close"].map(el).find((one) => !one.hidden);

async function open(state) {
  const isNew = shown === null;
  const hadFocus = document.activeElement;
  draw(state);
  if (!isNew) {
    if (hadFocus.hidden) firstButton().focus();
    return;
  }
  el("backdrop").hidden = false;
  await ask("updateContainerStyle", { isModalShown: true });
  await ask("onOpen");
  firstButton().focus();
}

async function hide() {
  if (shown === null) return;
  shown = null;
  el("backdrop").hidden = true;
  await ask("updateContainerStyle", { isModalShown: false });
}

function update({ nextContext, nextModalState }) {
  const user = nextContext && nextContext.user;
  const modal = nextModalState || {};
  const isOpen = user && user.authenticated && modal.integration;
  const options = modal.apiInstallationOptions || {};
  const mayShow = !options.isApiInstallation || options.showPortalAfterInstall || modal.shouldShowPortalAfterInstall;
  if (!isOpen || (!mayShow && shown === null)) return void hide();
  const config = modal.config || {};
  const state = { user, integration: modal.integration, config, connectionError: modal.connectionError, options };
  if (options.isApiInstallation && !accountOf(user, modal.integration.type).current) return;
  void open(state);
}

// What `work` changes is drawn when the SDK tells of it; until then the status stays.
async function act(button, status, work) {
  button.disabled = true;
  el("problem").hidden = true;
  el("status").textContent = status;
  try {
    await work();
  } catch (error) {
    el("problem").hidden = false;
    el("problem").textContent = error.message || "That did not work. Try again.";
    el("status").textContent = "";
  } finally {
    button.disabled = false;
  }
}

async function close() {
  await ask("onClose", true);
  await hide();
}

el("connect").addEventListener("click", () => {
  const { integration, current } = shown;
  const options = current ? { selectedCredentialId: current.id } : {};
  void act(el("connect"), "Continue in the window that opened.", () => ask("startOAuthFlow", integration.type, options));
});

el("disconnect").addEventListener("click", () => {
  const { integration, current } = shown;
  void act(el("disconnect"), "Disconnecting…", () =>
    ask("uninstallIntegration", integration.type, { selectedCredentialId: current.id }));
});

el("close").addEventListener("click", () => void close());
el("backdrop").addEventListener("click", (event) => { if (event.target === el("backdrop")) void close(); });

document.addEventListener("keydown", (event) => {
  if (shown === null) return;
  if (event.key === "Escape") return void close();
  if (event.key !== "Tab") return;
  const stops = [...document.querySelectorAll("button")].filter((one) => one.offsetParent !== null && !one.disabled);
  const first = stops[0], last = stops[stops.length - 1];
  const leaves = event.shiftKey ? document.activeElement === first : document.activeElement === last;
  if (!leaves) return;
  event.preventDefault();
  (event.shiftKey ? last : first).focus();
});

window.addEventListener("message", (event) => {
  if (event.source !== window.parent || typeof event.data !== "object" || event.data === null) return;
  const { messageType, id } = event.data;
  if (messageType === "UI_UPDATE") {
    appOrigin = event.origin;
    update(event.data);
  } else if (answers.has(id) && event.origin === appOrigin) {
    const { resolve, reject } = answers.get(id);
    answers.delete(id);
    if (messageType === "SDK_FUNCTION_ERROR") reject(new Error(event.data.message));
    else resolve(event.data.result);
  }
});
