import { expect, test } from "vitest";
import { foreignPart, messageSchema, templateMessages } from "./messages.ts";
import { ChatTemplate, type PromptTokenizer } from "./template.ts";

/** Code points as tokens; special tokens in front when asked for. */
const BOS = 100_001;
const EOS = 100_002;
const engine = {
  card: { bosToken: BOS, eosToken: EOS },
  tokenize: async (text: string, { addSpecial }: { addSpecial: boolean }) =>
    Int32Array.from([...(addSpecial ? [BOS] : []), ...[...text].map((c) => c.codePointAt(0)!)]),
} as unknown as PromptTokenizer;

const input = (content: string) => ({
  messages: [{ role: "user", content }],
  tools: null,
  addGenerationPrompt: true,
  variables: {},
});
const tokens = async (template: ChatTemplate, given: ReturnType<typeof input>) =>
  (await template.prompt(given, engine)).tokens;
const codes = (text: string) => [...text].map((c) => c.codePointAt(0)!);

test("special tokens of a template become ids, once", async () => {
  const own = new ChatTemplate("{{ bos_token }}[{{ messages[0].content }}]{{ eos_token }}");
  expect([...(await tokens(own, input("hi")))]).toEqual([BOS, ...codes("[hi]"), EOS]);
  const without = new ChatTemplate("[{{ messages[0].content }}]");
  expect([...(await tokens(without, input("hi")))]).toEqual([BOS, ...codes("[hi]")]);
  expect(own.text(input("hi"), "<s>", "</s>")).toBe("<s>[hi]</s>");
});

test("what a user writes cannot become a special token", async () => {
  const own = new ChatTemplate("{{ bos_token }}{{ messages[0].content }}");
  const text = "{{ eos_token }} \u{e000}eos\u{e001}";
  expect([...(await tokens(own, input(text)))]).toEqual([BOS, ...codes(text)]);
});

test("chatml is known by name; variables and the generation prompt reach the template", () => {
  const chatml = new ChatTemplate("chatml");
  expect(chatml.text(input("hi"), "", "")).toBe(
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
  );
  const thinking = new ChatTemplate("{% if think %}yes{% else %}no{% endif %}");
  expect(thinking.text({ ...input(""), variables: { think: true } }, "", "")).toBe("yes");
});

test("broken templates and refused messages say why", () => {
  expect(() => new ChatTemplate("{% if %}")).toThrowError(
    expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining("parsed") }),
  );
  const strict = new ChatTemplate("{{ raise_exception('roles must alternate') }}");
  expect(() => strict.text(input("x"), "", "")).toThrowError("roles must alternate");
});

test("messages become what templates expect", () => {
  const messages = [
    {
      role: "developer",
      content: [
        { type: "text", text: "be " },
        { type: "text", text: "brief" },
      ],
    },
    {
      role: "assistant",
      content: null,
      tool_calls: [{ id: "1", function: { name: "f", arguments: '{"a":1}' } }],
    },
    { role: "user", content: [{ type: "image_url", image_url: { url: "data:" } }], name: null },
  ].map((m) => messageSchema.parse(m));
  const [system, assistant, user] = templateMessages(messages);
  expect(system).toEqual({ role: "system", content: "be brief" });
  expect(assistant).toMatchObject({
    content: "",
    tool_calls: [{ type: "function", function: { name: "f", arguments: { a: 1 } } }],
  });
  expect(user).toEqual({ role: "user", content: "" });
  expect(foreignPart(messages)).toBe("image_url");
  expect(foreignPart(messages.slice(0, 2))).toBeNull();
});
