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

function draw({ user, integration, config, connectionError, options }) {
  const { current } = accountOf(user, integration.type);
  const isValid = current !== null && current.status === "VALID";
  const details = (current && current.providerData) || {};
  el("icon").src = `integrations/${encodeURIComponent(integration.type)}.svg`;
  el("name").textContent = integration.name;
  el("description").textContent = config.description || "";
  el("overview").replaceChildren(...paragraphs(config.overview || ""));
  el("account").hidden = current === null;
  el("account").textContent = `Connected: ${details.name || ""} ${details.email ? `<${details.email}>` : ""}`.trim();
  const problem = connectionError
    ? connectionError.message || "The account could not be connected."
    : current && !isValid ? "This account has to be connected again. Your settings are kept." : "";
  el("problem").hidden = !problem;
  el("problem").textContent = problem;
  el("connect").hidden = isValid;
  el("connect").textContent = current ? "Reconnect" : "Connect";
  el("disconnect").hidden = current === null;
  document.documentElement.style.setProperty("--accent", config.accentColor || "");
  shown = { integration, current, options };
}

async function open(state) {
  const isNew = shown === null;
  draw(state);
  if (!isNew) return;
  el("backdrop").hidden = false;
  await ask("updateContainerStyle", { isModalShown: true });
  await ask("onOpen");
  (el("connect").hidden ? el("close") : el("connect")).focus();
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

async function act(button, status, work) {
  button.disabled = true;
  el("status").textContent = status;
  el("problem").hidden = true;
  try {
    await work();
    el("status").textContent = "";
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
