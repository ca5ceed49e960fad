// What clients of gRPC-Web from npm see of Muster, with no generated code. The
// same file runs in Node.js and in a page: `run` tries what the settings name,
// and answers what came of each.
import { createFileRegistry, fromBinary, toBinary, create } from "@bufbuild/protobuf";
import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import grpcWeb from "grpc-web";

const { GrpcWebClientBase, MethodDescriptor, MethodType, StatusCode } = grpcWeb;
const DEVICES = "muster.registry.v1.DeviceService";
const KEYS = "muster.keys.v1.ApiKeyService";
const VERIFICATION = "muster.keys.v1.KeyVerificationService";

let settings;
let contract;

// A client of connect-web for one service; `more` are options of its transport.
function client(service, { headers = { authorization: `Bearer ${settings.key}` }, ...more } = {}) {
  const present = (next) => (request) => {
    Object.entries(headers).forEach(([name, value]) => request.header.set(name, value));
    return next(request);
  };
  const options = { baseUrl: settings.url, useBinaryFormat: true, interceptors: [present], ...more };
  return createClient(contract.getService(service), createGrpcWebTransport(options));
}

async function refusal(call) {
  try {
    await call();
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error("it was not refused");
}

const name = (error) => Code[error.code];

async function unary() {
  const id = `${settings.name}-request`;
  let told;
  const options = { headers: { "x-request-id": id }, onHeader: (headers) => (told = headers.get("x-request-id")) };
  const made = await client(DEVICES).createDevice({ device: { displayName: settings.name } }, options);
  const found = await client(DEVICES).listDevices({ displayName: settings.name });
  return [made.displayName, told, ...found.devices.map((device) => device.id === made.id)];
}

async function errors() {
  const wrong = { device: { displayName: "", code: "?" } };
  const refused = await refusal(() => client(DEVICES).createDevice(wrong));
  const [info] = refused.findDetails(contract.getMessage("google.rpc.ErrorInfo"));
  const [bad] = refused.findDetails(contract.getMessage("google.rpc.BadRequest"));
  return [name(refused), info.reason, ...bad.fieldViolations.map((violation) => violation.field)];
}

async function credentials() {
  const bySession = { cookie: `muster_session=${settings.session}` };
  const ways = [{}, { authorization: "Bearer wrong" }, { "x-api-key": settings.key }];
  if (settings.session) ways.push(bySession, { ...bySession, "sec-fetch-site": "cross-site" });
  const told = [];
  for (const headers of ways) {
    const call = client(DEVICES, { headers }).listDevices({ pageSize: 1 });
    told.push(await call.then(() => "ok", (error) => name(ConnectError.from(error))));
  }
  return told;
}

async function sha256(text) {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return base64Encode(new Uint8Array(digest));
}

// Revokes a key once the stream has begun, hears of it there, and breaks off.
async function stream() {
  const told = [];
  const stop = new AbortController();
  let subject;
  const refused = await refusal(async () => {
    for await (const heard of client(VERIFICATION).watchRevoked({}, { signal: stop.signal })) {
      if (heard.synchronised && !subject) {
        const { apiKey } = await client(KEYS).createApiKey({ apiKey: { displayName: settings.name } });
        subject = await sha256(`key:${apiKey.id}`);
        await client(KEYS).revokeApiKey({ id: apiKey.id });
        told.push("revoked");
      }
      if (heard.revoked.some((one) => base64Encode(one.subjectSha256) === subject)) {
        told.push("heard");
        stop.abort();
      }
    }
  });
  return [...told, name(refused)];
}

async function deadline() {
  const late = await refusal(async () => {
    for await (const _ of client(VERIFICATION).watchRevoked({}, { timeoutMs: 1000 }));
  });
  return [name(late)];
}

// A megabyte each way, and more than may be.
async function large() {
  const labels = { label: `${settings.name}-large` };
  for (let made = 0; made < 20; made++) {
    const device = { displayName: settings.name, labels, attributes: { text: "x".repeat(60_000) } };
    await client(DEVICES).createDevice({ device });
  }
  const { devices } = await client(DEVICES).listDevices({ displayName: settings.name, pageSize: 100 });
  const size = devices.reduce((sum, device) => sum + (device.attributes?.text?.length ?? 0), 0);
  const huge = { device: { displayName: "x", description: "x".repeat(5 << 20) } };
  return [size, name(await refusal(() => client(DEVICES).createDevice(huge)))];
}

// gRPC-Web is promised for protobuf only.
async function json() {
  const refused = await refusal(() => client(DEVICES, { useBinaryFormat: false }).listDevices({}));
  return [name(refused)];
}

// The other library: its calls by XMLHttpRequest, as bytes or as Base64 text.
function google(format, service, method, message) {
  const { input, output, methodKind } = contract.getService(service).method[method];
  const kind = methodKind === "unary" ? MethodType.UNARY : MethodType.SERVER_STREAMING;
  const path = `/${service}/${method[0].toUpperCase()}${method.slice(1)}`;
  const write = (message) => toBinary(input, message);
  const read = (bytes) => fromBinary(output, new Uint8Array(bytes));
  const descriptor = new MethodDescriptor(path, kind, Object, Object, write, read);
  const call = kind === MethodType.UNARY ? "unaryCall" : "serverStreaming";
  const metadata = { authorization: `Bearer ${settings.key}` };
  const client = new GrpcWebClientBase({ format });
  return client[call](settings.url + path, create(input, message), metadata, descriptor);
}

const tryGoogle = (format) => async () => {
  const displayName = `${settings.name}-${format}`;
  const made = await google(format, DEVICES, "createDevice", { device: { displayName } });
  const found = await google(format, DEVICES, "listDevices", { displayName });
  const wrong = google(format, DEVICES, "createDevice", { device: { displayName: "" } });
  const refused = await wrong.catch((error) => error);
  const told = [found.devices[0].id === made.id, refused.code === StatusCode.INVALID_ARGUMENT];
  return [...told, "grpc-status-details-bin" in refused.metadata];
};

// Only as text does it read a stream as it comes.
async function googleStream() {
  return new Promise((resolve, reject) => {
    const stream = google("text", VERIFICATION, "watchRevoked", {});
    let heard = 0;
    stream.on("error", reject);
    stream.on("data", () => {
      if (++heard < 3) return;
      stream.cancel();
      resolve([heard]);
    });
  });
}

const tries = {
  unary,
  errors,
  credentials,
  stream,
  deadline,
  large,
  json,
  googleBinary: tryGoogle("binary"),
  googleText: tryGoogle("text"),
  googleStream,
};

export async function run(given) {
  settings = given;
  contract = createFileRegistry(fromBinary(FileDescriptorSetSchema, base64Decode(given.contract)));
  const told = {};
  for (const what of given.tries) {
    told[what] = await tries[what]().catch((error) => `${error?.code ?? ""} ${error}`);
  }
  return told;
}
