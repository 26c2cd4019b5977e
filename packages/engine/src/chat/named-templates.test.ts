import { expect, test } from "vitest";
import { templateMessages } from "./messages.ts";
import { namedTemplates } from "./named-templates.ts";
import { ChatTemplate } from "./template.ts";
import { ToolCallParser } from "./tool-calls.ts";
import { toolFormatOf } from "./tool-format.ts";

const messages = templateMessages([
  { role: "system", content: "Be brief." },
  { role: "user", content: "Hi" },
  { role: "assistant", content: "Hello" },
  { role: "user", content: "Bye {{ x }}" },
]);
const render = (name: string, more: object = {}) =>
  new ChatTemplate(name).text(
    { messages, tools: null, addGenerationPrompt: true, variables: {}, ...more },
    "<s>",
    "</s>",
  );

test("each named template writes the turns of its family", () => {
  expect(render("chatml")).toBe(
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye {{ x }}<|im_end|>\n<|im_start|>assistant\n",
  );
  expect(render("hermes")).toBe(render("chatml"));
  expect(render("llama3")).toBe(
    "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye {{ x }}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
  );
  expect(render("mistral")).toBe(
    "<s>[INST] Be brief.\n\nHi [/INST] Hello</s>[INST] Bye {{ x }} [/INST]",
  );
  expect(render("gemma")).toBe(
    "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n<start_of_turn>user\nBye {{ x }}<end_of_turn>\n<start_of_turn>model\n",
  );
});

test("hermes shows tools, calls and results in the form that is parsed back", () => {
  const tool = { type: "function", function: { name: "f", parameters: { type: "object" } } };
  const call = { id: "1", type: "function", function: { name: "f", arguments: '{"a":"\\"x"}' } };
  const text = render("hermes", {
    tools: [tool],
    messages: templateMessages([
      { role: "system", content: "Be brief." },
      { role: "assistant", content: null, tool_calls: [call as never] },
      { role: "tool", tool_call_id: "1", content: "42" },
    ]),
  });
  expect(text.match(/Be brief\./g)).toHaveLength(1);
  expect(text).toContain('"name": "f"');
  expect(text).toContain("<tool_response>\n42\n</tool_response>");
  const written = text.slice(
    text.indexOf("assistant\n"),
    text.indexOf("<|im_end|>\n<|im_start|>user"),
  );
  const parser = new ToolCallParser(["f"]);
  const { calls } = parser.push(written.slice("assistant\n".length));
  expect(calls.map((one) => one.arguments).join("")).toBe('{"a": "\\"x"}');
  expect(toolFormatOf(namedTemplates.hermes).open).toContain("<tool_call>");
});

test("a word that is no name is refused, with the names", () => {
  expect(() => new ChatTemplate("chatlm")).toThrowError(
    expect.objectContaining({ code: "CONFIG_INVALID", hint: expect.stringContaining("chatml") }),
  );
});
