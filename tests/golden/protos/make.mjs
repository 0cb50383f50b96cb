// Makes fields.txt: for every field of every message in network/protos/proto, the bytes that the
// official bindings write when only that field is set.
//
// Run in an empty folder:
//   npm install @hyperledger/fabric-protos@0.3.7 protobufjs@7
//   node <repository>/tests/golden/protos/make.mjs > <repository>/tests/golden/protos/fields.txt
import { createRequire } from 'node:module';
import { readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(join(process.cwd(), 'x.js'));
const protobuf = require('protobufjs');
const bindings = join(dirname(require.resolve('@hyperledger/fabric-protos/package.json')), 'lib');
const protoDir = join(dirname(fileURLToPath(import.meta.url)), '../../../network/protos/proto');

const files = readdirSync(protoDir, { recursive: true })
  .filter((f) => f.endsWith('.proto') && !f.startsWith('google'))
  .sort();

// The value of a field follows from its name, so a field under another name cannot pass.
const plain = (name) => name.replaceAll('_', '').toLowerCase();
const number = (name) => [...plain(name)].reduce((sum, c) => sum + c.charCodeAt(0), 0);
function value(type, name, fresh) {
  switch (type) {
    case 'string': return plain(name);
    case 'bytes': return new Uint8Array(Buffer.from(plain(name)));
    case 'bool': return true;
    case 'int32': case 'int64': case 'uint32': case 'uint64': return number(name);
    default: return fresh();
  }
}
const pascal = (name) => name.split('_').map((w) => w[0].toUpperCase() + w.slice(1).toLowerCase()).join('');

const lines = [];
for (const file of files) {
  const root = new protobuf.Root();
  root.resolvePath = (_, target) => (target.startsWith('google/') ? null : join(protoDir, relative(protoDir, join(protoDir, target))));
  const parsed = protobuf.parse((await import('node:fs')).readFileSync(join(protoDir, file), 'utf8'), root, { keepCase: true });
  if (file === 'peer/endorser.proto') continue; // only a service
  const module = require(join(bindings, file.replace('.proto', '_pb.js')));
  walk(root.lookup(parsed.package), parsed.package, module);
}
process.stdout.write(lines.sort().join('\n') + '\n');

function walk(namespace, prefix, js) {
  for (const item of namespace.nestedArray) {
    if (item instanceof protobuf.Service) continue;
    const name = `${prefix}.${item.name}`;
    const counterpart = js[item.name];
    if (!counterpart) throw new Error(`upstream has no ${name}`);
    if (item instanceof protobuf.Enum) {
      for (const [key, number] of Object.entries(item.values)) {
        if (counterpart[key] !== number) throw new Error(`${name}.${key} is ${counterpart[key]} upstream`);
        lines.push(`enum ${name} ${key} ${number}`);
      }
      continue;
    }
    for (const field of item.fieldsArray) lines.push(`field ${name} ${field.name} ${bytesOf(item, field, counterpart)}`);
    walk(item, name, counterpart);
  }
}

function bytesOf(type, field, Class) {
  const message = new Class();
  let accessor = pascal(field.name);
  // The generator adds a dollar where a name would hide a method of its base class.
  if (`set${accessor}$` in message) accessor += '$';
  if (field instanceof protobuf.MapField) {
    const map = message[`get${accessor}Map`]();
    const key = field.keyType === 'string' ? 'key' : 7;
    const ofMessage = !/^(string|bytes|bool|u?int(32|64))$/.test(field.type);
    map.set(key, ofMessage ? emptyMapValue(map) : value(field.type, field.name));
    return hex(message);
  }
  const kind = scalarOrEnum(type, field);
  // An empty message: what matters is the field's number and wire type.
  const empty = () => (kind === 'enum' ? 1 : emptyOf(Class, accessor, field));
  if (field.repeated) {
    if (kind === 'message') message[`add${accessor}`]();
    else message[`set${accessor}List`]([value(field.type, field.name, empty)]);
  } else {
    message[`set${accessor}`](value(field.type, field.name, empty));
  }
  return hex(message);
}

function scalarOrEnum(type, field) {
  if (/^(string|bytes|bool|u?int(32|64))$/.test(field.type)) return 'scalar';
  let resolved = null;
  try { resolved = type.lookupTypeOrEnum(field.type); } catch { resolved = null; }
  if (resolved instanceof protobuf.Enum) return 'enum';
  if (resolved) return 'message';
  // Declared in another file: ask upstream's reader which method it would use.
  return /^(common\.)?(Status|HeaderType)$|TxValidationCode$|DataModel$/.test(field.type) ? 'enum' : 'message';
}

function emptyOf(Class, accessor) {
  // Reading a one-entry encoding makes upstream's own class build the child message.
  for (let tag = 1; tag < 32; tag += 1) {
    try {
      const child = Class.deserializeBinary(new Uint8Array([(tag << 3) | 2, 0]))[`get${accessor}`]();
      if (child && typeof child.serializeBinary === 'function') return child;
    } catch { /* another wire type at this number */ }
  }
  throw new Error(`no child message for ${accessor}`);
}

function emptyMapValue(map) {
  // The only property of the map that is a class of messages.
  for (const property of Object.values(map)) {
    if (typeof property === 'function' && typeof property.deserializeBinary === 'function') return new property();
  }
  throw new Error('no class for a map value');
}

function hex(message) {
  return Buffer.from(message.serializeBinary()).toString('hex');
}
