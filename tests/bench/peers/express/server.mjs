// The token service of Bakrypt's documentation, completed so that it runs: a body parser, the
// reply, and connections that are kept.
import https from "node:https";
import axios from "axios";
import express from "express";

const { TOKEN_URL, CLIENT_ID, CLIENT_SECRET, PORT } = process.env;
const upstream = axios.create({ httpsAgent: new https.Agent({ keepAlive: true }) });
const app = express();

app.use(express.json());
app.post("/login", async (req, res) => {
	try {
		const { username, password } = req.body;
		const payload = new URLSearchParams();
		payload.append("client_id", CLIENT_ID);
		payload.append("client_secret", CLIENT_SECRET);
		payload.append("username", username);
		payload.append("password", password);
		payload.append("grant_type", "password");
		const config = { headers: { "Content-Type": "application/x-www-form-urlencoded" } };
		const response = await upstream.post(TOKEN_URL, payload, config);
		res.json(response.data);
	} catch (error) {
		res.status(500).send("Internal Server Error");
	}
});
app.listen(Number(PORT), "127.0.0.1");
