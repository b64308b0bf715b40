// The same for Node, with nothing but its fetch: each piece of each body as text, and the statuses.
const base = process.argv[2];
const chat = { model: "gemma-3-270m", messages: [{ role: "user", content: "What is the sea?" }], max_tokens: 16, temperature: 0 };
const calls = {
  models: ["GET", "/models"],
  chat: ["POST", "/chat/completions", chat],
  "chat streamed": ["POST", "/chat/completions", { ...chat, stream: true }],
  "no such path": ["GET", "/nothing"],
  "no JSON": ["POST", "/chat/completions", null],
};
for (const [name, [method, path, body]] of Object.entries(calls)) {
  const text = body === undefined ? undefined : body === null ? "{" : JSON.stringify(body);
  const answer = await fetch(base + path, { method, body: text, headers: { "content-type": "application/json" } });
  console.log(JSON.stringify([name, answer.status, answer.headers.get("content-type"), await answer.text()]));
}
