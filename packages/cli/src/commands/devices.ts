/** `millrace devices`: the catalogue, or one device with the source of its numbers. */
import { formatBytes, formatDollars, formatNumber } from "@millrace/core";
import { type DeviceSpec, devices, findDevice } from "@millrace/sim";
import type { Session } from "../session.ts";
import { facts, table } from "../ui/table.ts";

const rate = (bytes: number) => `${formatBytes(bytes)}/s`;

/** Device memory as its makers write it: GiB, called GB. */
const memory = (bytes: number) => `${formatNumber(bytes / 2 ** 30)} GiB`;

export async function devicesCommand(session: Session, name: string | undefined): Promise<number> {
  const listed = name === undefined ? devices : [findDevice(name)];
  if (session.json) {
    session.printJson({ schema: "millrace.devices/1", devices: listed });
    return 0;
  }
  const [only] = listed;
  if (name !== undefined && only !== undefined) return showDevice(session, only);
  session.print(
    table(
      [
        { title: "device", least: 10 },
        { title: "TFLOP/s", align: "right" },
        { title: "fp8", align: "right", drop: 3 },
        { title: "memory", align: "right" },
        { title: "bandwidth", align: "right" },
        { title: "link", align: "right", drop: 2 },
        { title: "network", align: "right", drop: 4 },
        { title: "per server", align: "right", drop: 5 },
        { title: "$/h", align: "right" },
      ],
      listed.map((device) => [
        device.name,
        formatNumber(device.tflops),
        device.fp8Tflops === undefined ? "" : formatNumber(device.fp8Tflops),
        memory(device.memoryBytes),
        rate(device.memoryBandwidth),
        rate(device.linkBandwidth),
        rate(device.networkBandwidth),
        String(device.devicesPerServer),
        device.dollarsPerHour.toFixed(2),
      ]),
      session,
    ),
  );
  session.note(
    `\n${listed.length} devices; dense fp16 peaks. Prices are defaults: set your own under prices: in plan.yaml.\nA device of your own is six numbers and a price under devices: in a configuration.`,
  );
  return 0;
}

function showDevice(session: Session, device: DeviceSpec): number {
  const pairs: (readonly [string, string])[] = [
    ["fp16 peak", `${formatNumber(device.tflops)} TFLOP/s, dense`],
    [
      "fp8 peak",
      device.fp8Tflops === undefined ? "none" : `${formatNumber(device.fp8Tflops)} TFLOP/s, dense`,
    ],
    ["memory", memory(device.memoryBytes)],
    ["bandwidth", rate(device.memoryBandwidth)],
    ["link", `${rate(device.linkBandwidth)} per direction, within a server`],
    ["network", `${rate(device.networkBandwidth)} between servers`],
    ["per server", String(device.devicesPerServer)],
    ["price", `${formatDollars(device.dollarsPerHour)} per hour`],
  ];
  if (device.aliases !== undefined) pairs.push(["also called", device.aliases.join(", ")]);
  pairs.push(["source", device.source]);
  session.print([session.paint("strong", device.name), ...facts(pairs, { ...session, indent: 2 })]);
  return 0;
}
