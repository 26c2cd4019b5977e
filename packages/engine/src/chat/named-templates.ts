/** Chat templates that can be given by name, for models whose file has none. Control tokens stand as text and are read as such. */

const generation = (text: string) => `{% if add_generation_prompt %}${text}{% endif %}`;

const chatmlTurn =
  "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}";

/** ChatML with tools as Hermes and Qwen models know them. */
const hermes = [
  "{%- set first = messages[0] %}",
  "{%- if tools %}",
  "{{- '<|im_start|>system\\n' }}",
  "{%- if first.role == 'system' %}{{- first.content + '\\n\\n' }}{%- endif %}",
  "{{- 'You may call these functions to help the user. Their signatures:\\n<tools>' }}",
  "{%- for tool in tools %}{{- '\\n' + (tool | tojson) }}{%- endfor %}",
  '{{- \'\\n</tools>\\n\\nWrite each call as a JSON object between tags:\\n<tool_call>\\n{"name": NAME, "arguments": OBJECT}\\n</tool_call><|im_end|>\\n\' }}',
  "{%- endif %}",
  "{%- for message in messages %}",
  "{%- if loop.first and tools and message.role == 'system' %}",
  "{%- elif message.role == 'tool' %}",
  "{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}",
  "{%- elif message.tool_calls %}",
  "{{- '<|im_start|>assistant\\n' + message.content }}",
  "{%- for call in message.tool_calls %}",
  "{{- '\\n<tool_call>\\n{\"name\": ' + (call.function.name | tojson) + ', \"arguments\": ' + (call.function.arguments | tojson) + '}\\n</tool_call>' }}",
  "{%- endfor %}",
  "{{- '<|im_end|>\\n' }}",
  "{%- else %}",
  chatmlTurn.replace("{{", "{{-"),
  "{%- endif %}",
  "{%- endfor %}",
  "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}",
].join("");

/** Templates by name. */
export const namedTemplates = {
  chatml: `{% for message in messages %}${chatmlTurn}{% endfor %}${generation("{{ '<|im_start|>assistant\\n' }}")}`,
  hermes,
  llama3: [
    "{{ bos_token }}{% for message in messages %}",
    "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content + '<|eot_id|>' }}",
    "{% endfor %}",
    generation("{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"),
  ].join(""),
  mistral: [
    "{{ bos_token }}{% set start = namespace(text='') %}{% for message in messages %}",
    "{% if message.role == 'system' %}{% set start.text = message.content + '\\n\\n' %}",
    "{% elif message.role == 'assistant' %}{{ ' ' + message.content }}{{ eos_token }}",
    "{% else %}{{ '[INST] ' + start.text + message.content + ' [/INST]' }}{% set start.text = '' %}{% endif %}",
    "{% endfor %}",
  ].join(""),
  gemma: [
    "{{ bos_token }}{% set start = namespace(text='') %}{% for message in messages %}",
    "{% if message.role == 'system' %}{% set start.text = message.content + '\\n\\n' %}{% else %}",
    "{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else 'user') + '\\n' + start.text + message.content + '<end_of_turn>\\n' }}",
    "{% set start.text = '' %}{% endif %}{% endfor %}",
    generation("{{ '<start_of_turn>model\\n' }}"),
  ].join(""),
} as const satisfies Record<string, string>;
