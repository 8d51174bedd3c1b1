/* The page to try a login on. bakrypt-login.js does the work; here is what a person sees of it. */

import { login, logout, refresh, session } from "./bakrypt-login.js";

const MASK = "•".repeat(8); // Always as long: it tells nothing of the token.
const FIELDS = [
	{ name: "access_token", label: "Access token", isSecret: true },
	{ name: "refresh_token", label: "Refresh token", isSecret: true },
	{ name: "token_type", label: "Type" },
	{ name: "scope", label: "Scope" },
	{ name: "expires_in", label: "Lifetime when issued, in seconds" },
];
const NEWS = {
	login: "", // The title says it, and has the focus.
	refresh: "The token was renewed.",
	logout: "You are logged out, and the token has ended.",
	expired: "The token has expired. Log out, and sign in again.",
	renewable: "The token has expired. Refresh it, or log out.",
	ended: "",
	forgotten: "",
};

const part = (id) => document.getElementById(id);
const username = part("username");
const password = part("password");
let ticking = null;

// What happened

function tell(text) {
	part("status").textContent = text;
	hideError();
}

function hideError() {
	part("error").hidden = true;
	for (const input of [username, password]) {
		input.removeAttribute("aria-invalid");
		input.removeAttribute("aria-describedby");
	}
}

function showError(error, advice = error.advice) {
	part("status").textContent = "";
	part("error-message").textContent = error.message;
	part("error-advice").textContent = advice;
	part("error-id").textContent = error.requestId ? `Request number: ${error.requestId}` : "";
	part("error").hidden = false;
	if (error.action === "login" && error.status === 401)
		for (const input of [username, password]) {
			input.setAttribute("aria-invalid", "true");
			input.setAttribute("aria-describedby", "error-message");
		}
}

/** Carries out what a button is for; pressed again meanwhile, it does nothing. It is not disabled,
 * which would take the focus away from it. */
async function carryOut(button, words, work) {
	if (button.getAttribute("aria-disabled") === "true")
		return;
	const label = button.textContent;
	button.setAttribute("aria-disabled", "true");
	button.textContent = words;
	hideError();
	try {
		await work();
	} catch (error) {
		if (error.code === "aborted")
			return;
		if (error.name !== "LoginError")
			throw error;
		showError(error);
	} finally {
		button.removeAttribute("aria-disabled");
		button.textContent = label;
	}
}

/** What is read out begins with what is seen: so it can be called by voice as well. */
function nameToggle(button, isShown, object) {
	button.textContent = isShown ? "Hide" : "Show";
	button.setAttribute("aria-label", button.textContent + object);
}

// The form

function reveal(isShown) {
	password.type = isShown ? "text" : "password";
	nameToggle(part("reveal"), isShown, " the password");
}

async function onSubmit(event) {
	event.preventDefault();
	reveal(false);
	await carryOut(part("login"), "Signing in …", () => login(username.value, password.value));
	if (password.getAttribute("aria-invalid") === "true") {
		password.focus();
		password.select();
	}
}

// The token's fields

const rows = new Map(); // By the field's name, while there is a token.

function setShown(row, isShown) {
	const { field, show } = row;
	row.isShown = isShown;
	const isMasked = field.isSecret && !isShown;
	row.code.textContent = isMasked ? MASK : String(session.token[field.name]);
	row.code.setAttribute("aria-hidden", String(isMasked));
	row.hint.hidden = !isMasked;
	nameToggle(show, isShown, `: ${field.label}`);
}

async function copy(row) {
	const { label, name } = row.field;
	try {
		await navigator.clipboard.writeText(String(session.token[name]));
		tell(`${label}: copied.`);
	} catch {
		// Without HTTPS or leave there is no clipboard: the text is selected, to copy it by hand.
		setShown(row, true);
		getSelection().selectAllChildren(row.code);
		tell(`${label}: selected. Copy it with the keyboard or the menu.`);
	}
}

function makeRow(field) {
	const element = part("row").content.firstElementChild.cloneNode(true);
	const [code, hint, show, button] =
		["code", ".unseen", ".show", ".copy"].map((name) => element.querySelector(name));
	const row = { field, element, code, hint, show, isShown: false };
	element.querySelector("dt").textContent = field.label;
	button.setAttribute("aria-label", `Copy: ${field.label}`);
	button.addEventListener("click", () => copy(row));
	show.hidden = !field.isSecret;
	show.addEventListener("click", () => setShown(row, !row.isShown));
	return row;
}

/** The rows stay what and where they are after a renewal: the focus may be in them. */
function showFields() {
	for (const field of FIELDS) {
		const isThere = session.token?.[field.name] !== undefined;
		if (!isThere)
			rows.delete(field.name);
		else if (!rows.has(field.name))
			rows.set(field.name, makeRow(field));
	}
	for (const row of rows.values())
		setShown(row, row.isShown);
	const elements = [...rows.values()].map(({ element }) => element);
	if (elements.length !== part("fields").childElementCount ||
			elements.some((element) => !element.isConnected))
		part("fields").replaceChildren(...elements);
}

// The countdown

function inWords(seconds) {
	const parts = [[Math.floor(seconds / 3600), "h"], [Math.floor(seconds / 60) % 60, "min"],
		[seconds % 60, "s"]];
	while (parts.length > 1 && parts[0][0] === 0)
		parts.shift();
	return parts.map(([count, unit]) => `${count}\u00a0${unit}`).join(" ");
}

function tick() {
	const left = session.secondsLeft;
	part("left").textContent = left === null ? "unknown" : inWords(Math.ceil(left));
	part("bar").hidden = left === null;
	part("bar").value = left === null ? 1 : left / Math.max(session.token.expires_in, 1);
}

function setTicking(isOn) {
	clearInterval(ticking);
	ticking = isOn ? setInterval(tick, 500) : null;
	if (isOn)
		tick();
}

// From one to the other

function showSession() {
	document.title = part("title").textContent =
		session.isSignedIn ? "You are signed in" : "Your session has expired";
	part("form").hidden = true;
	part("session").hidden = false;
	for (const id of ["refresh", "renewal"])
		part(id).hidden = !session.token.refresh_token;
	part("form").reset();
	showFields();
	setTicking(true);
}

function showForm() {
	setTicking(false);
	document.title = part("title").textContent = "Sign in to Bakrypt";
	part("session").hidden = true;
	part("form").hidden = false;
	part("form").reset();
	reveal(false);
	showFields();
}

session.addEventListener("change", ({ reason, error }) => {
	if (session.token)
		showSession();
	else
		showForm();
	tell(reason === "expired" && session.token.refresh_token ? NEWS.renewable : NEWS[reason]);
	if (error)
		showError(error);
	if (reason === "login")
		part("title").focus();
	if (reason === "logout" || reason === "ended")
		username.focus();
});
session.addEventListener("error", ({ error }) => showError(error, "It is tried again by itself."));

part("form").addEventListener("submit", onSubmit);
part("reveal").addEventListener("click", () => reveal(password.type === "password"));
part("refresh").addEventListener("click", (event) =>
	carryOut(event.currentTarget, "Refreshing …", refresh));
part("logout").addEventListener("click", (event) =>
	carryOut(event.currentTarget, "Logging out …", logout));
part("renews").addEventListener("change", (event) => {
	session.renews = event.currentTarget.checked;
});

// Whoever comes back to this page by "back" finds it signed out, and nothing typed in.
addEventListener("pagehide", () => {
	session.forget();
	showForm();
	tell("");
});
session.renews = part("renews").checked;
