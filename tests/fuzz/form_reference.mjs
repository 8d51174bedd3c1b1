// What the WHATWG URL standard reads in a form, by Node's URLSearchParams: for each line of
// hexadecimal digits its pairs as NAME=VALUE, in hexadecimal digits, or "bad" where the program
// refuses what the standard repairs: a bad "%xx", what is not UTF-8; and NUL. Behind them whether a
// name by itself, with nothing bad in it, is one of the arguments.
import { createInterface } from "node:readline";

const credentials = new Set(process.argv.slice(2));
const fatal = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

// URLSearchParams takes text, which it encodes in UTF-8. Bytes above 7F stand for themselves when
// they are percent-encoded.
const asText = (bytes) => Array.from(bytes, (byte) =>
	byte < 0x80 ? String.fromCharCode(byte) : "%" + byte.toString(16).padStart(2, "0")).join("");

function isBad(text) {
	if (/%(?![0-9a-f]{2})|%00|\0/i.test(text))
		return true;
	const bytes = text.replace(/%(..)|([^])/g, (all, digits, plain) =>
		digits ?? plain.charCodeAt(0).toString(16).padStart(2, "0"));
	try {
		fatal.decode(Buffer.from(bytes, "hex"));
		return false;
	} catch {
		return true;
	}
}

const hex = (text) => Buffer.from(text, "utf8").toString("hex");

function read(bytes) {
	const text = asText(bytes);
	// A "?" at the start is not taken for a part of it.
	const pairs = [...new URLSearchParams("?" + text)];
	const parts = text.split("&").filter((part) => part !== "");
	if (pairs.length !== parts.length)
		throw new Error(`${pairs.length} pairs in ${text}`);
	let hasCredentials = 0;
	const told = pairs.map(([name, value], i) => {
		const mark = parts[i].indexOf("=");
		const rawName = mark < 0 ? parts[i] : parts[i].slice(0, mark);
		const rawValue = mark < 0 ? "" : parts[i].slice(mark + 1);
		if (!isBad(rawName) && credentials.has(name))
			hasCredentials = 1;
		return isBad(rawName) || isBad(rawValue) ? "bad," : `${hex(name)}=${hex(value)},`;
	});
	return `${told.join("")} ${hasCredentials}`;
}

for await (const line of createInterface({ input: process.stdin }))
	process.stdout.write(read(Buffer.from(line, "hex")) + "\n");
