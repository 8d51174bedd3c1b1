/**
 * A client of bakrypt-login for web pages: log in, refresh, log out, and renewal before expiry.
 *
 *	import { login, logout, session } from "./bakrypt-login.js";
 *	const token = await login("alice", "her password");
 *	session.addEventListener("change", () => show(session.token));
 *	await fetch(url, { headers: { Authorization: `Bearer ${await session.accessToken()}` } });
 *
 * Tokens are kept in this page's memory alone: never in the URL, a cookie or the browser's storage.
 * A page that is loaded anew has to log in anew.
 */

/**
 * What the token server gave.
 * @typedef {object} Token
 * @property {string} access_token
 * @property {string} token_type
 * @property {number} [expires_in] its life in seconds, from the moment it was given
 * @property {string} [scope]
 * @property {string} [refresh_token]
 */

/**
 * @typedef {"login" | "refresh" | "logout"} Action
 * @typedef {"login" | "refresh" | "logout" | "expired" | "ended" | "forgotten"} Reason
 */

/**
 * @typedef {object} Options
 * @property {string | URL} [base] the folder of the paths login, refresh and logout; by default the
 *	one that this file was loaded from
 * @property {boolean} [renews] whether tokens are renewed before they expire; true by default
 * @property {number} [renewBefore] how many seconds before: 60 by default, and never more than a
 *	fifth of the token's life
 * @property {number} [timeout] seconds to wait for an answer; 30 by default
 */

const LOOK_S = 15; // A computer that slept is noticed after this time at the latest.
const PAUSE_MIN_S = 1; // Between two renewals, whatever expires_in says.
const RETRY_MIN_S = 5; // After a renewal that failed; doubled each time.
const RETRY_MAX_S = 60;
const WAKING = ["focus", "online", "pageshow", "visibilitychange"];

const AGAIN = "Try again in a moment.";
const OPERATOR = "Tell the people who run this site, with the request number.";

/** What happened and what to do, for a person: by the answer's status. */
const SENTENCES = {
	400: ["The request could not be read.", "Check what you typed: neither field may be empty."],
	403: ["Bakrypt does not let this account in.", "It may be locked: ask Bakrypt's support."],
	413: ["What you typed is too long.", "Check the fields."],
	429: ["There were too many attempts.", AGAIN],
	500: ["This site's sign-in is not set up correctly. It is not your password.", OPERATOR],
	502: ["Bakrypt gave an answer that cannot be used.", `${AGAIN} If it stays so: ${OPERATOR}`],
	503: ["The service is not available at the moment.", AGAIN],
	504: ["Bakrypt did not answer in time.", AGAIN],
};

/** The same for what no status tells, by code. */
const OWN_SENTENCES = {
	aborted: ["This was called off.", ""],
	bad_answer: ["The sign-in service gave an answer that is none.", OPERATOR],
	expired: ["Your session has expired.", "Sign in again."],
	network: ["The sign-in service cannot be reached.", "Check your connection, and try again."],
	no_refresh_token: ["This session cannot be renewed.", "Sign in again when it has expired."],
	offline: ["This device is offline.", "Connect it, and try again."],
	signed_out: ["You are not signed in.", "Sign in first."],
	timeout: ["The sign-in service did not answer in time.", AGAIN],
};

/** @returns {string[]} what happened, what to do */
function explain(action, status, code, retryAfter) {
	const [message, advice] = sayFor(action, status, code);
	return [message, retryAfter ? advice.replace(AGAIN, `Try again in ${retryAfter} s.`) : advice];
}

function sayFor(action, status, code) {
	if (status < 400)
		return OWN_SENTENCES[code];
	if (status === 401 && action === "login")
		return ["The user name or the password is wrong.", "Check both, and try again."];
	if (status === 401)
		return ["Your session has ended.", "Sign in again."];
	if (status === 403 && code === "invalid_request")
		return ["This site may not use the sign-in service.", OPERATOR];
	if (status === 502 && code === "temporarily_unavailable")
		return ["Bakrypt has a fault at the moment.", AGAIN];
	return SENTENCES[status] ?? ["The sign-in service is not where this page expects it.", OPERATOR];
}

/** Why login(), refresh(), logout() or accessToken() did not succeed. */
export class LoginError extends Error {
	/**
	 * @param {Action} action
	 * @param {{status?: number, code: string, requestId?: string, retryAfter?: number,
	 *	cause?: unknown}} traits
	 */
	constructor(action, { status = 0, code, requestId, retryAfter, cause }) {
		const [message, advice] = explain(action, status, code, retryAfter);
		super(message, { cause });
		this.name = "LoginError";
		/** @type {Action} what was tried */
		this.action = action;
		/** @type {string} what the person can do; `message` says what happened */
		this.advice = advice;
		/** @type {number} the answer's HTTP status; 0 if there was no answer */
		this.status = status;
		/** @type {string} the answer's `error`, or with status 0: network, offline, timeout,
		 * aborted, signed_out, expired or no_refresh_token */
		this.code = code;
		/** @type {string | null} under which the service logged it */
		this.requestId = requestId ?? null;
		/** @type {number | null} seconds to wait before another try */
		this.retryAfter = retryAfter ?? null;
	}

	/** @returns {boolean} whether only a new login helps */
	get isFinal() {
		return this.status === 401 || ["signed_out", "expired"].includes(this.code);
	}
}

/** "change": the session has another token, or none. "error": a renewal failed. */
export class SessionEvent extends Event {
	/** @param {string} type @param {Reason | null} reason @param {LoginError | null} error */
	constructor(type, reason, error = null) {
		super(type);
		/** @type {Reason | null} of a change */
		this.reason = reason;
		/** @type {LoginError | null} of an error, or of a change to "ended" */
		this.error = error;
	}
}

/** Time since it was made. The steady clock of some systems stands still while they sleep, and the
 * wall's can be set back: the longer of both counts. */
class Stopwatch {
	#wall = Date.now();
	#steady = performance.now();

	get seconds() {
		return Math.max(Date.now() - this.#wall, performance.now() - this.#steady) / 1000;
	}
}

/** Seconds, of a Retry-After header in either of its forms. */
function readRetryAfter(text) {
	if (!text)
		return null;
	const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
	return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : null;
}

function readObject(text) {
	try {
		const value = JSON.parse(text);
		return value !== null && typeof value === "object" ? value : {};
	} catch {
		return {};
	}
}

/** @returns {Readonly<Token> | null} */
function readToken({ access_token, token_type, expires_in, scope, refresh_token }) {
	if (typeof access_token !== "string" || access_token === "")
		return null;
	return Object.freeze({ access_token, token_type, expires_in, scope, refresh_token });
}

/** A token's life in a page. Calls are carried out one after the other, and refreshes that are
 * asked for at one time are one. */
export class Session extends EventTarget {
	#base;
	#timeout;
	#renewBefore;
	#renews;
	/** @type {Readonly<Token> | null} */
	#token = null;
	/** @type {Stopwatch | null} */
	#age = null;
	#pause = null; // {watch, seconds}: no renewal by itself before that.
	#failures = 0;
	#isExpiryTold = false;
	#last = Promise.resolve();
	#refreshing = null;
	#abort = new AbortController();
	#timer = null;
	#look = () => this.#lookAtTime();

	/** @param {Options} [options] */
	constructor({ base, renews = true, renewBefore = 60, timeout = 30 } = {}) {
		super();
		this.#base = new URL(base ?? ".", base ? globalThis.document?.baseURI : import.meta.url);
		this.#renews = renews;
		this.#renewBefore = renewBefore;
		this.#timeout = timeout;
	}

	/** @returns {Readonly<Token> | null} the token as it was given; null when signed out */
	get token() {
		return this.#token;
	}

	/** @returns {boolean} whether there is a token that has not expired */
	get isSignedIn() {
		return this.#token !== null && this.secondsLeft !== 0;
	}

	/** @returns {number | null} until the token expires; null if that is not known */
	get secondsLeft() {
		const life = this.#token?.expires_in;
		return typeof life === "number" ? Math.max(0, life - this.#age.seconds) : null;
	}

	/** Whether the token is renewed before it expires. */
	get renews() {
		return this.#renews;
	}

	set renews(value) {
		this.#renews = Boolean(value);
		this.#lookAtTime();
	}

	/**
	 * Logs in. A token from before is forgotten, not ended: log out first. Aborted by the signal,
	 * the service ends what it has begun.
	 * @param {string} username @param {string} password @param {{signal?: AbortSignal}} [options]
	 * @returns {Promise<Readonly<Token>>}
	 * @throws {LoginError}
	 */
	login(username, password, { signal } = {}) {
		return this.#inTurn("login", (left) =>
			this.#ask("login", { username, password }, [signal, left]));
	}

	/**
	 * Renews the token now. While that is under way, another call gives the same promise.
	 * @returns {Promise<Readonly<Token>>}
	 * @throws {LoginError} after one with `isFinal` the session has ended
	 */
	refresh() {
		this.#refreshing ??= this.#inTurn("refresh", (left) => this.#renew(left)).finally(() => {
			this.#refreshing = null;
		});
		return this.#refreshing;
	}

	/**
	 * Ends the session, here and at the token server.
	 * @returns {Promise<void>}
	 * @throws {LoginError} then the token may still be valid, and is kept, to try again
	 */
	logout() {
		return this.#inTurn("logout", async (left) => {
			if (this.#token === null)
				return;
			const { refresh_token, access_token } = this.#token;
			await this.#post("logout", { refresh_token, access_token }, [left]);
			this.#drop("logout");
		});
	}

	/** Drops the token from memory, and calls off what is under way. The token server is not told:
	 * for pages that are left. */
	forget() {
		this.#abort.abort();
		this.#abort = new AbortController();
		if (this.#token !== null)
			this.#drop("forgotten");
	}

	/**
	 * An access token that is valid now, renewed if it has to be: ask for it before each use.
	 * @returns {Promise<string>}
	 * @throws {LoginError}
	 */
	async accessToken() {
		if (this.#token?.refresh_token && (this.#isDue() || this.secondsLeft === 0)) {
			try {
				await this.refresh();
			} catch (error) {
				if (!this.isSignedIn)
					throw error;
			}
		}
		if (this.#token === null)
			throw new LoginError("refresh", { code: "signed_out" });
		if (!this.isSignedIn)
			throw new LoginError("refresh", { code: "expired" });
		return this.#token.access_token;
	}

	// Tokens that come and go

	/** Does the work after what was asked for before, unless forget() comes first. */
	#inTurn(action, work) {
		const { signal } = this.#abort;
		const done = this.#last.then(() => {
			if (signal.aborted)
				throw new LoginError(action, { code: "aborted" });
			return work(signal);
		});
		this.#last = done.catch(() => {});
		return done;
	}

	/** A grant; its token becomes this session's. What it leaves out of `kept` stays as it was: with
	 * a server that sends no new refresh token, the old one goes on (RFC 6749, section 6). */
	async #ask(action, fields, signals, kept = {}) {
		const age = new Stopwatch(); // From before the question: never later than the server's.
		const given = await this.#post(action, fields, signals);
		const refresh_token = given.refresh_token ?? kept.refresh_token;
		const token = Object.freeze({ ...given, refresh_token });
		this.#token = token;
		this.#age = age;
		this.#failures = 0;
		this.#isExpiryTold = false;
		this.#pauseFor(PAUSE_MIN_S);
		this.#watch();
		this.dispatchEvent(new SessionEvent("change", action));
		return token;
	}

	async #renew(left) {
		if (this.#token === null)
			throw new LoginError("refresh", { code: "signed_out" });
		if (!this.#token.refresh_token)
			throw new LoginError("refresh", { code: "no_refresh_token" });
		try {
			const { refresh_token } = this.#token;
			return await this.#ask("refresh", { refresh_token }, [left], { refresh_token });
		} catch (error) {
			this.#failures += 1;
			const wait = Math.min(RETRY_MAX_S, RETRY_MIN_S * 2 ** (this.#failures - 1));
			this.#pauseFor(Math.max(error.retryAfter ?? 0, wait));
			if (error.isFinal && this.#token !== null)
				this.#drop("ended", error);
			throw error;
		}
	}

	#drop(reason, error) {
		this.#token = null;
		this.#age = null;
		this.#unwatch();
		this.dispatchEvent(new SessionEvent("change", reason, error));
	}

	// Time

	#pauseFor(seconds) {
		this.#pause = { watch: new Stopwatch(), seconds };
	}

	/** Seconds until the renewal. */
	#renewsIn() {
		const life = this.#token.expires_in;
		const before = Math.min(this.#renewBefore, life / 5);
		const paused = this.#pause.seconds - this.#pause.watch.seconds;
		return Math.max(0, life - before - this.#age.seconds, paused);
	}

	#isDue() {
		return this.#token !== null && this.secondsLeft !== null && this.#renewsIn() === 0;
	}

	#lookAtTime() {
		if (this.#token === null)
			return;
		if (this.secondsLeft === 0 && !this.#isExpiryTold) {
			this.#isExpiryTold = true;
			this.dispatchEvent(new SessionEvent("change", "expired"));
		}
		if (this.#renews && this.#token?.refresh_token && this.#isDue() && !this.#refreshing)
			this.refresh().catch((error) => {
				if (this.#token !== null)
					this.dispatchEvent(new SessionEvent("error", null, error));
			}).finally(() => this.#watch());
		else
			this.#watch();
	}

	/** Sees to it that time is looked at when something is due, and when the computer wakes. */
	#watch() {
		this.#unwatch();
		if (this.#token === null || this.secondsLeft === null)
			return;
		const waits = [LOOK_S];
		if (!this.#isExpiryTold)
			waits.push(this.secondsLeft);
		if (this.#renews && this.#token.refresh_token)
			waits.push(this.#renewsIn());
		this.#timer = setTimeout(this.#look, Math.min(...waits) * 1000 + 1);
		for (const type of WAKING)
			globalThis.window?.addEventListener(type, this.#look, { capture: true });
	}

	#unwatch() {
		clearTimeout(this.#timer);
		for (const type of WAKING)
			globalThis.window?.removeEventListener(type, this.#look, { capture: true });
	}

	// HTTP

	/** @returns {Promise<Readonly<Token> | null>} null after a logout */
	async #post(action, fields, signals) {
		const response = await this.#send(action, fields, signals.filter(Boolean));
		if (signals.some((each) => each?.aborted))
			throw new LoginError(action, { code: "aborted" });
		const body = readObject(response.text);
		if (action === "logout" && response.status === 204)
			return null;
		const token = response.status === 200 && action !== "logout" ? readToken(body) : null;
		if (token !== null)
			return token;
		const isAnswer = response.status >= 400 && typeof body.error === "string";
		throw new LoginError(action, {
			status: response.status,
			code: isAnswer ? body.error : "bad_answer",
			requestId: response.headers.get("X-Request-Id") ?? body.request_id,
			retryAfter: readRetryAfter(response.headers.get("Retry-After")),
		});
	}

	/** One request, with a deadline. */
	async #send(action, fields, signals) {
		const own = new AbortController();
		const end = () => own.abort();
		let isLate = false;
		const timer = setTimeout(() => { isLate = true; end(); }, this.#timeout * 1000);
		for (const each of signals)
			each.addEventListener("abort", end);
		if (signals.some((each) => each.aborted))
			end();
		try {
			// A redirect would take the password elsewhere. A page may be left while it logs out.
			const answer = await fetch(new URL(action, this.#base), {
				method: "POST",
				headers: { "Content-Type": "application/json", Accept: "application/json" },
				body: JSON.stringify(fields),
				cache: "no-store",
				keepalive: action === "logout",
				redirect: "error",
				referrerPolicy: "no-referrer",
				signal: own.signal,
			});
			return { status: answer.status, headers: answer.headers, text: await answer.text() };
		} catch (cause) {
			throw new LoginError(action, { code: Session.#nameFailure(own.signal, isLate), cause });
		} finally {
			clearTimeout(timer);
			for (const each of signals)
				each.removeEventListener("abort", end);
		}
	}

	static #nameFailure(signal, isLate) {
		if (isLate)
			return "timeout";
		if (signal.aborted)
			return "aborted";
		return globalThis.navigator?.onLine === false ? "offline" : "network";
	}
}

/** The page's session. For other options make one of your own: `new Session({ base: "/x/" })`. */
export const session = new Session();

/** @type {Session["login"]} */
export const login = (username, password, options) => session.login(username, password, options);

/** @type {Session["refresh"]} */
export const refresh = () => session.refresh();

/** @type {Session["logout"]} */
export const logout = () => session.logout();
