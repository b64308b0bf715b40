// The official client for Node: what it reads, what its helpers make of streams, and its errors.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { AzureOpenAI } from "openai";
import { zodFunction, zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const baseURL = process.env.CLIENTS_BASE_URL;
const model = process.env.CLIENTS_MODEL ?? "gpt-4o-mini";
const client = new OpenAI({ baseURL, apiKey: "sk-none", maxRetries: 0, timeout: 60_000 });
const messages = [{ role: "user", content: "Say something." }];
const Person = z.object({ name: z.string(), age: z.number().int(), mood: z.enum(["good", "bad"]) });
const City = z.object({ city: z.string() });
const functions = ["weather", "clock"].map((name) => ({
  type: "function",
  function: { name, parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } },
}));

const all = async (stream) => {
  const found = [];
  for await (const item of stream) found.push(item);
  return found;
};
const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
const whole = async (more = {}) => client.chat.completions.create({ model, messages, ...more });

test("chat answers with text", async () => {
  const found = await whole();
  const [choice] = found.choices;
  assert.match(found.id, /^chatcmpl-/);
  assert.deepEqual([found.object, found.model, choice.finish_reason], ["chat.completion", model, "stop"]);
  assert.ok(choice.message.content.trim());
  assert.equal(found.usage.total_tokens, found.usage.prompt_tokens + found.usage.completion_tokens);
  assert.match(found._request_id, /^req_/);
});

test("limits, stops and choices", async () => {
  const plain = (await whole()).choices[0].message.content;
  const cut = await whole({ max_completion_tokens: 4 });
  assert.deepEqual([cut.choices[0].finish_reason, cut.usage.completion_tokens], ["length", 4]);
  const stop = plain.split(/\s+/)[2];
  const stopped = await whole({ stop, n: 2 });
  assert.deepEqual(
    stopped.choices.map((choice) => choice.message.content),
    Array(2).fill(plain.slice(0, plain.indexOf(stop))),
  );
});

test("log probabilities", async () => {
  const [choice] = (await whole({ logprobs: true, top_logprobs: 2 })).choices;
  assert.equal(choice.logprobs.content.map((token) => token.token).join(""), choice.message.content);
  assert.ok(choice.logprobs.content.every((token) => token.top_logprobs.length === 2));
});

test("a stream says what the whole answer does", async () => {
  const chunks = await all(await whole({ stream: true, stream_options: { include_usage: true } }));
  const plain = await whole();
  assert.equal(textOf(chunks), plain.choices[0].message.content);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.completion_tokens, plain.usage.completion_tokens);
});

test("the stream helper folds it", async () => {
  const runner = client.chat.completions.stream({ model, messages });
  let said = "";
  runner.on("content", (delta) => (said += delta));
  const final = await runner.finalChatCompletion();
  assert.equal(final.choices[0].finish_reason, "stop");
  assert.equal(said, final.choices[0].message.content);
  assert.equal(said, (await whole()).choices[0].message.content);
});

test("a stream can be left early", async () => {
  const stream = await whole({ stream: true });
  for await (const chunk of stream) {
    assert.equal(chunk.choices[0].delta.role, "assistant");
    break;
  }
  assert.equal(stream.controller.signal.aborted, true);
});

test("tools may be left alone", async () => {
  const [choice] = (await whole({ tools: functions })).choices;
  assert.equal(choice.finish_reason, "stop");
  assert.equal(choice.message.tool_calls, undefined);
});

test("a tool is called, whole and streamed", async () => {
  const asked = { tools: functions, tool_choice: { type: "function", function: { name: "clock" } } };
  const [choice] = (await whole(asked)).choices;
  const [call] = choice.message.tool_calls;
  assert.deepEqual([choice.finish_reason, call.function.name], ["tool_calls", "clock"]);
  assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
  const final = await client.chat.completions.stream({ model, messages, ...asked }).finalChatCompletion();
  assert.equal(final.choices[0].message.tool_calls[0].function.arguments, call.function.arguments);
});

test("runTools calls what it is given and ends", async () => {
  const called = [];
  const tool = (name) => ({
    type: "function",
    function: {
      name,
      parse: JSON.parse,
      parameters: functions[0].function.parameters,
      function: ({ city }) => called.push([name, typeof city]) && "done",
    },
  });
  const runner = client.chat.completions.runTools({
    model, messages, tools: [tool("weather"), tool("clock")], tool_choice: { type: "function", function: { name: "clock" } },
  });
  await runner.done();
  assert.deepEqual(called, [["clock", "string"]]);
  const free = client.chat.completions.runTools({ model, messages, tools: [tool("weather")] });
  assert.ok((await free.finalContent()).trim());
});

test("parse gives what zod describes", async () => {
  const found = await client.chat.completions.parse({ model, messages, response_format: zodResponseFormat(Person, "person") });
  assert.deepEqual(Person.parse(found.choices[0].message.parsed), found.choices[0].message.parsed);
  const called = await client.chat.completions.parse({
    model, messages, tools: [zodFunction({ name: "weather", parameters: City })], tool_choice: "required",
  });
  assert.equal(typeof called.choices[0].message.tool_calls[0].function.parsed_arguments.city, "string");
});

test("raw responses have the headers of the API", async () => {
  const { data, response, request_id: id } = await client.chat.completions.create({ model, messages }).withResponse();
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("x-request-id"), id);
  assert.equal(response.headers.get("openai-version"), "2020-10-01");
  assert.ok(data.choices[0].message.content);
});

test("errors are the client's own", async () => {
  await assert.rejects(whole({ temperature: 9 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.deepEqual([error.status, error.param, error.code], [400, "temperature", "decimal_above_max_value"]);
    return true;
  });
  await assert.rejects(client.post("/nope", { body: {} }), OpenAI.NotFoundError);
});

test("completions", async () => {
  const asked = { model, prompt: "Once upon a time", max_tokens: 5 };
  const found = await client.completions.create(asked);
  assert.deepEqual([found.choices[0].finish_reason, found.usage.completion_tokens], ["length", 5]);
  const chunks = await all(await client.completions.create({ ...asked, stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), found.choices[0].text);
});

test("embeddings are the same in either encoding", async () => {
  const asked = { model: "text-embedding-3-small", input: ["a", "b"], dimensions: 16 };
  const packed = await client.embeddings.create(asked);
  const plain = await client.embeddings.create({ ...asked, encoding_format: "float" });
  assert.equal(packed.data.length, 2);
  packed.data.forEach((item, place) => {
    assert.equal(item.embedding.length, 16);
    item.embedding.forEach((x, i) => assert.ok(Math.abs(x - plain.data[place].embedding[i]) < 1e-7));
  });
  assert.ok(Math.abs(Math.hypot(...plain.data[0].embedding) - 1) < 1e-5);
});

test("moderations and models", async () => {
  const judged = await client.moderations.create({ input: ["a", "b"] });
  assert.deepEqual(judged.results.map((result) => result.flagged), [false, false]);
  assert.equal(Object.keys(judged.results[0].categories).length, 13);
  const listed = await all(client.models.list());
  assert.ok(listed.length);
  assert.equal((await client.models.retrieve("org/model")).id, "org/model");
});

test("a response, whole and streamed", async () => {
  const asked = { model, input: "Say something." };
  const found = await client.responses.create(asked);
  assert.deepEqual([found.status, found.object], ["completed", "response"]);
  assert.ok(found.output_text.trim());
  const events = await all(await client.responses.create({ ...asked, stream: true }));
  assert.deepEqual(events.map((event) => event.sequence_number), events.map((_, place) => place));
  assert.equal(events.at(-1).response.output[0].content[0].text, found.output_text);
  const final = await client.responses.stream(asked).finalResponse();
  assert.equal(final.output_text, found.output_text);
});

test("a response is parsed, and calls functions", async () => {
  const format = zodTextFormat(Person, "person");
  const found = await client.responses.parse({ model, input: "Who?", text: { format } });
  assert.deepEqual(Person.parse(found.output_parsed), found.output_parsed);
  const tools = functions.map(({ function: inner }) => ({ type: "function", strict: false, ...inner }));
  const called = await client.responses.create({ model, input: "How?", tools, tool_choice: "required" });
  assert.deepEqual([called.output[0].type, called.output[0].name], ["function_call", "weather"]);
  assert.equal(typeof JSON.parse(called.output[0].arguments).city, "string");
});

test("a response is kept until it is deleted", async () => {
  const made = await client.responses.create({ model, input: "Keep this (node)." });
  assert.equal((await client.responses.retrieve(made.id)).output_text, made.output_text);
  await client.responses.delete(made.id);
  await assert.rejects(client.responses.retrieve(made.id), OpenAI.NotFoundError);
});

test("Azure's client finds its way", async () => {
  const azure = new AzureOpenAI({
    endpoint: baseURL.replace(/\/v1$/, ""), apiKey: "none", apiVersion: "2024-10-21", maxRetries: 0,
  });
  assert.equal(textOf(await all(await azure.chat.completions.create({ model, messages, stream: true }))),
    (await azure.chat.completions.create({ model, messages })).choices[0].message.content);
});
