/**
 * A second real server for the load generator: node-llama-cpp does the inference (its own build of llama.cpp, its own
 * batching), this file only speaks OpenAI's HTTP in front of it. A process of its own, since one process may load only one
 * copy of ggml. Plain JavaScript, because its one dependency has a lock file of its own and may be absent.
 *
 * node server.mjs MODEL.gguf [--sequences N] [--context TOKENS] [--threads N]: prints {"url": ...} and serves until
 * standard input ends.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    sequences: { type: "string", default: "8" },
    context: { type: "string", default: "1024" },
    threads: { type: "string", default: "1" },
  },
});
const llama = await getLlama({
  gpu: false,
  build: "never",
  skipDownload: true,
  progressLogs: false,
  logLevel: LlamaLogLevel.error,
});
const model = await llama.loadModel({ modelPath: positionals[0] });
const context = await model.createContext({
  sequences: Number(values.sequences),
  contextSize: Number(values.context),
  threads: Number(values.threads),
});
/** Sequences that no request uses, and requests that wait for one, first come first served. */
const idle = Array.from({ length: Number(values.sequences) }, () => context.getSequence());
const waiting = [];

async function withSequence(use) {
  const sequence = idle.pop() ?? (await new Promise((resolve) => waiting.push(resolve)));
  try {
    await use(sequence);
  } finally {
    await sequence.clearHistory();
    const next = waiting.shift();
    if (next === undefined) idle.push(sequence);
    else next(sequence);
  }
}

function refuse(response, status, message) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify({ error: { message, type: "invalid_request_error" } }));
}

async function complete(request, response, chat) {
  let body = "";
  for await (const part of request) body += part;
  const asked = JSON.parse(body);
  if (asked.stream !== true) return refuse(response, 400, "only streams are served");
  const text = chat ? asked.messages.map(({ content }) => content).join("\n") : asked.prompt;
  const prompt = Array.isArray(text) ? text : model.tokenize(text);
  if (prompt.length + asked.max_tokens > Number(values.context))
    return refuse(response, 400, `${prompt.length} + ${asked.max_tokens} tokens do not fit`);
  await withSequence(async (sequence) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    const send = (value) => response.write(`data: ${JSON.stringify(value)}\n\n`);
    const chunk = (content, finish) =>
      send({
        object: chat ? "chat.completion.chunk" : "text_completion",
        model: asked.model,
        choices: [
          {
            index: 0,
            ...(chat ? { delta: content === "" ? {} : { content } } : { text: content }),
            finish_reason: finish,
          },
        ],
      });
    const said = [];
    const answer = sequence.evaluate(prompt, {
      temperature: asked.temperature ?? 0,
      yieldEogToken: asked.ignore_eos === true,
    });
    for await (const token of answer) {
      chunk(model.detokenize([token], true, said.slice(-4)), null);
      said.push(token);
      if (said.length >= asked.max_tokens || response.destroyed) break;
    }
    chunk("", said.length >= asked.max_tokens ? "length" : "stop");
    if (asked.stream_options?.include_usage === true)
      send({
        choices: [],
        usage: { prompt_tokens: prompt.length, completion_tokens: said.length },
      });
    response.end("data: [DONE]\n\n");
  });
}

const server = createServer((request, response) => {
  if (request.url === "/v1/models") {
    response.end(JSON.stringify({ object: "list", data: [{ id: "node-llama-cpp" }] }));
    return;
  }
  const chat = request.url === "/v1/chat/completions";
  if (request.method !== "POST" || !(chat || request.url === "/v1/completions")) {
    refuse(response, 404, `nothing at ${request.url}`);
    return;
  }
  complete(request, response, chat).catch((problem) => {
    if (response.headersSent) response.destroy(problem);
    else refuse(response, 400, String(problem));
  });
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` })}\n`);
process.stdin.resume();
await once(process.stdin, "close");
process.exit(0);
