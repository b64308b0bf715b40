// The AI SDK, by its provider for OpenAI (chat, responses, completions) and by the one for what is compatible.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embed, embedMany, generateText, isStepCount, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const baseURL = process.env.CLIENTS_BASE_URL;
const model = process.env.CLIENTS_MODEL ?? "gpt-4o-mini";
const openai = createOpenAI({ baseURL, apiKey: "sk-none" });
const compatible = createOpenAICompatible({
  name: "ours", baseURL, apiKey: "sk-none", includeUsage: true, supportsStructuredOutputs: true,
});
const models = {
  chat: openai.chat(model),
  responses: openai.responses(model),
  compatible: compatible.chatModel(model),
};
const asked = { prompt: "Say something.", maxRetries: 0 };
const steps = (count) => (stepCountIs ?? isStepCount)(count);
const Person = z.object({ name: z.string(), age: z.number().int().min(18), mood: z.enum(["good", "bad"]) });
const tools = (called) =>
  Object.fromEntries(
    ["weather", "clock"].map((name) => [
      name,
      tool({
        inputSchema: z.object({ city: z.string() }),
        execute: async ({ city }) => (called.push([name, typeof city]), "done"),
      }),
    ]),
  );
const all = async (stream) => {
  const found = [];
  for await (const item of stream) found.push(item);
  return found;
};

for (const [name, llm] of Object.entries(models)) {
  test(`${name}: text, with its usage`, async () => {
    const found = await generateText({ model: llm, ...asked });
    assert.ok(found.text.trim());
    assert.equal(found.finishReason, "stop");
    assert.ok(found.usage.inputTokens > 0 && found.usage.outputTokens > 0);
  });

  test(`${name}: a stream says what the whole answer does`, async () => {
    const streamed = streamText({ model: llm, ...asked });
    const parts = await all(streamed.textStream);
    assert.ok(parts.length > 3);
    assert.equal(parts.join(""), (await generateText({ model: llm, ...asked })).text);
    assert.equal(await streamed.finishReason, "stop");
    assert.ok((await streamed.usage).outputTokens > 0);
  });

  test(`${name}: a limit cuts`, async () => {
    const found = await generateText({ model: llm, ...asked, maxOutputTokens: 20 });
    assert.deepEqual([found.finishReason, found.usage.outputTokens], ["length", 20]);
  });

  test(`${name}: an object of a schema, whole and streamed`, async () => {
    const output = Output.object({ schema: Person });
    const found = await generateText({ model: llm, ...asked, output });
    assert.deepEqual(Person.parse(found.output), found.output);
    const streamed = streamText({ model: llm, ...asked, output });
    const partial = await all(streamed.partialOutputStream);
    assert.deepEqual(partial.at(-1), found.output);
  });

  test(`${name}: a tool that is required is called`, async () => {
    const called = [];
    const found = await generateText({ model: llm, ...asked, tools: tools(called), toolChoice: "required" });
    assert.deepEqual(called, [["weather", "string"]]);
    assert.deepEqual(found.toolCalls.map((call) => call.toolName), ["weather"]);
    assert.equal(found.finishReason, "tool-calls");
  });

  test(`${name}: a loop calls each tool`, async () => {
    const called = [];
    const settings = { ...asked, tools: tools(called), toolChoice: "required", stopWhen: steps(2) };
    const found = await generateText({ model: llm, ...settings });
    assert.equal(found.steps.length, 2);
    assert.deepEqual(called.map(([tool]) => tool), ["weather", "clock"]);
  });

  test(`${name}: a streamed call is whole`, async () => {
    const called = [];
    const choice = { type: "tool", toolName: "clock" };
    const streamed = streamText({ model: llm, ...asked, tools: tools(called), toolChoice: choice });
    const calls = (await all(streamed.fullStream)).filter((part) => part.type === "tool-call");
    assert.deepEqual(calls.map((call) => [call.toolName, typeof call.input.city]), [["clock", "string"]]);
    assert.deepEqual(called, [["clock", "string"]]);
  });

  test(`${name}: tools may be left alone`, async () => {
    const called = [];
    const found = await generateText({ model: llm, ...asked, tools: tools(called), stopWhen: steps(5) });
    assert.deepEqual([found.steps.length, called.length, found.finishReason], [1, 0, "stop"]);
  });
}

test("pictures are taken", async () => {
  const image = new Uint8Array([137, 80, 78, 71]);
  const content = [{ type: "text", text: "What?" }, { type: "file", data: image, mediaType: "image/png" }];
  const found = await generateText({ model: models.chat, messages: [{ role: "user", content }], maxRetries: 0 });
  assert.ok(found.text.trim());
});

for (const [name, llm] of Object.entries({
  openai: openai.completion("gpt-3.5-turbo-instruct"),
  compatible: compatible.completionModel(model),
})) {
  test(`${name}: completions`, async () => {
    const limited = { model: llm, ...asked, maxOutputTokens: 5 };
    const found = await generateText(limited);
    assert.deepEqual([found.finishReason, found.usage.outputTokens], ["length", 5]);
    assert.equal((await all(streamText(limited).textStream)).join(""), found.text);
  });
}

test("embeddings", async () => {
  const embedding = openai.embedding("text-embedding-3-small");
  const one = await embed({ model: embedding, value: "a", maxRetries: 0 });
  const { embeddings } = await embedMany({ model: embedding, values: ["a", "b"], maxRetries: 0 });
  assert.equal(one.embedding.length, 1536);
  assert.deepEqual(embeddings[0], one.embedding);
  assert.notDeepEqual(embeddings[1], one.embedding);
});

test("errors are the SDK's own", async () => {
  await assert.rejects(generateText({ model: models.chat, ...asked, temperature: 9 }), (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.deepEqual([error.statusCode, error.isRetryable], [400, false]);
    return true;
  });
});
