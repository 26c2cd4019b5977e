/** Formats of JSON schema strings, as rules for what stands between the quotes. */

const octet = '("25" [0-5] | "2" [0-4] [0-9] | "1" [0-9] [0-9] | [1-9]? [0-9])';
const date = '[0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])';
const clock = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,9})?';
const zone = '("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])';
const label = "[a-zA-Z0-9] ([-a-zA-Z0-9]{0,61} [a-zA-Z0-9])?";
const host = `${label} ("." ${label}){0,8}`;

/** Formats by name. Days are checked per month no further than 31; a time needs its zone (RFC 3339). */
export const stringFormats: Readonly<Record<string, string>> = {
  date,
  time: `${clock} ${zone}`,
  "date-time": `${date} "T" ${clock} ${zone}`,
  uuid: '[0-9a-fA-F]{8} ("-" [0-9a-fA-F]{4}){3} "-" [0-9a-fA-F]{12}',
  ipv4: `${octet} "." ${octet} "." ${octet} "." ${octet}`,
  hostname: host,
  email: `[a-zA-Z0-9_%+-] [a-zA-Z0-9._%+-]{0,62} "@" ${label} ("." ${label}){1,8}`,
  uri: '[a-zA-Z] [a-zA-Z0-9+.-]{0,30} ":" [a-zA-Z0-9._~:/?#@!$&\'()*+,;=%\\x5b\\x5d-]{1,1000}',
};
