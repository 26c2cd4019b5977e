/** `millrace models`: the catalogue, or one model in full. */
import { formatBytes, formatCount } from "@millrace/core";
import { kvBytesPerToken, type ModelSpec, models, parameterCount } from "@millrace/sim";
import type { Session } from "../session.ts";
import { formatWhole } from "../ui/numbers.ts";
import { facts, table } from "../ui/table.ts";

/** Everything that is said about a model, for --json. */
function entryOf(model: ModelSpec): object {
  const { total, active } = parameterCount(model);
  return { ...model, parameters: { total, active }, kvBytesPerToken: kvBytesPerToken(model, 2) };
}

export async function modelsCommand(session: Session, name: string | undefined): Promise<number> {
  if (name !== undefined) {
    const { openModel } = await import("../references.ts");
    return showModel(
      session,
      openModel(name, (path) => path),
    );
  }
  if (session.json) {
    session.printJson({ schema: "millrace.models/1", models: models.map(entryOf) });
    return 0;
  }
  const rows = models.map((model) => {
    const { total, active } = parameterCount(model);
    return [
      model.name,
      formatCount(total),
      active === total ? "" : formatCount(active),
      String(model.layers),
      String(model.hidden),
      `${model.heads}/${model.kvHeads}`,
      formatBytes(kvBytesPerToken(model, 2)),
      formatWhole(model.maxContext),
    ];
  });
  session.print(
    table(
      [
        { title: "model", least: 16 },
        { title: "parameters", align: "right" },
        { title: "active", align: "right", drop: 1 },
        { title: "layers", align: "right", drop: 4 },
        { title: "hidden", align: "right", drop: 5 },
        { title: "heads/kv", align: "right", drop: 3 },
        { title: "KV/token", align: "right" },
        { title: "context", align: "right", drop: 2 },
      ],
      rows,
      session,
    ),
  );
  session.note(
    `\n${models.length} models; KV at fp16. Organisation and -instruct may be left out: llama-3-8b.\nAny Hugging Face config.json works too: millrace models ./config.json`,
  );
  return 0;
}

function showModel(session: Session, model: ModelSpec): number {
  if (session.json) {
    session.printJson({ schema: "millrace.models/1", models: [entryOf(model)] });
    return 0;
  }
  const { total, active } = parameterCount(model);
  const { experts } = model;
  const pairs: (readonly [string, string])[] = [
    ["parameters", formatCount(total) + (active < total ? `, ${formatCount(active)} active` : "")],
    ["weights", `${formatBytes(total * 2)} at fp16, ${formatBytes(total)} at fp8`],
    ["KV per token", `${formatBytes(kvBytesPerToken(model, 2))} at fp16`],
    ["layers", String(model.layers)],
    ["hidden", String(model.hidden)],
    ["heads", `${model.heads} query, ${model.kvHeads} KV, ${model.headDim} elements each`],
    ["MLP", `${model.ffn} wide${model.gated ? ", gated" : ""}`],
    ["vocabulary", `${model.vocab}${model.tiedEmbeddings ? ", embeddings tied" : ""}`],
    ["context", `${model.maxContext} tokens`],
  ];
  if (experts !== undefined) {
    const shared = experts.shared > 0 ? `, ${experts.shared} shared` : "";
    pairs.push(["experts", `${experts.active} of ${experts.count} per token${shared}`]);
  }
  if (model.slidingWindow !== undefined)
    pairs.push(["attention window", `${model.slidingWindow} tokens`]);
  pairs.push(["source", model.source]);
  session.print([session.paint("strong", model.name), ...facts(pairs, { ...session, indent: 2 })]);
  return 0;
}
