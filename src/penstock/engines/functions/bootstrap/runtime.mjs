// The Node.js runtime: loads the handler, asks the Runtime API for events, answers.
// Source: https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html
//         https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { format } from "node:util";

const [HOST, PORT] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const ROOT = process.env.LAMBDA_TASK_ROOT || "/var/task";
const LOG_FD = Number(process.env._LAMBDA_TELEMETRY_LOG_FD || 0);
const IS_JSON = process.env.AWS_LAMBDA_LOG_FORMAT === "JSON";
const HAS_NO_CALLBACKS = Number((process.env.AWS_EXECUTION_ENV || "").match(/nodejs(\d+)/)?.[1]) >= 24;
const AGENT = new http.Agent({ keepAlive: true, maxSockets: 1 });
const STREAMING = Symbol("streaming");
let requestId = "";
delete process.env._LAMBDA_TELEMETRY_LOG_FD;

function call(method, where, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: HOST, port: PORT, method, path: `/2018-06-01/runtime/${where}`, agent: AGENT, headers };
    const request = http.request(options, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => resolve({ headers: answer.headers, body: Buffer.concat(parts) }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

// A message is one event of the log, whatever lines it has: a frame of type, length, microseconds and text.
function write(text) {
  if (!LOG_FD) {
    fs.writeSync(1, text.replace(/\n/g, "\r") + "\n");
    return;
  }
  const message = Buffer.from(text + "\n");
  const head = Buffer.alloc(16);
  head.writeUInt32BE(0xa55a0003, 0);
  head.writeUInt32BE(message.length, 4);
  head.writeBigInt64BE(BigInt(Date.now()) * 1000n, 8);
  fs.writeSync(LOG_FD, Buffer.concat([head, message]));
}

function log(level, values) {
  const timestamp = new Date().toISOString();
  if (IS_JSON) {
    const message = values.length === 1 && typeof values[0] !== "string" ? values[0] : format(...values);
    write(JSON.stringify({ timestamp, level, requestId, message: message instanceof Error ? describe(message) : message }));
  } else {
    write(`${timestamp}\t${requestId || "undefined"}\t${level}\t${format(...values)}`);
  }
}

for (const [name, level] of Object.entries({
  log: "INFO", info: "INFO", warn: "WARN", error: "ERROR", debug: "DEBUG", trace: "TRACE",
})) {
  console[name] = (...values) => log(level, values);
}

function describe(error) {
  if (!(error instanceof Error)) {
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  }
  return { errorType: error.name, errorMessage: error.message, trace: (error.stack || "").split("\n") };
}

class RuntimeError extends Error {
  constructor(name, message) {
    super(message);
    this.name = `Runtime.${name}`;
  }
}

globalThis.awslambda = {
  streamifyResponse: (handler) => {
    handler[STREAMING] = true;
    return handler;
  },
  HttpResponseStream: {
    from: (stream, metadata) => {
      stream.setContentType("application/vnd.awslambda.http-integration-response");
      stream.prelude = Buffer.concat([Buffer.from(JSON.stringify(metadata)), Buffer.alloc(8)]);
      return stream;
    },
  },
};

async function load() {
  const handler = process.env._HANDLER;
  if (handler.includes("..")) {
    throw new RuntimeError("MalformedHandlerName", `'${handler}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  }
  const base = path.basename(handler);
  const found = base.match(/^([^.]*)\.(.*)$/);
  if (!found) {
    throw new RuntimeError("MalformedHandlerName", "Bad handler");
  }
  const folder = path.resolve(ROOT, handler.slice(0, handler.length - base.length));
  const module = await loadModule(path.join(folder, found[1]));
  const start = module.default && !(found[2].split(".")[0] in module) ? module.default : module;
  const fn = found[2].split(".").reduce((part, name) => part?.[name], start);
  if (!fn) {
    throw new RuntimeError("HandlerNotFound", `${handler} is undefined or not exported`);
  }
  if (typeof fn !== "function") {
    throw new RuntimeError("HandlerNotFound", `${handler} is not a function`);
  }
  if (HAS_NO_CALLBACKS && fn.length >= 3 && !fn[STREAMING]) {
    throw new RuntimeError("CallbackHandlerDeprecated", "AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.");
  }
  return fn;
}

async function loadModule(file) {
  const name = path.relative(ROOT, file);
  const found = ["", ".js", ".mjs", ".cjs"].map((end) => file + end).find((one) => fs.existsSync(one) && fs.statSync(one).isFile());
  if (!found) {
    throw new RuntimeError("ImportModuleError", `Error: Cannot find module '${name}'\nRequire stack:\n- /var/runtime/index.mjs`);
  }
  try {
    if (found.endsWith(".mjs") || (found.endsWith(".js") && isModule(found))) {
      return await import(pathToFileURL(found).href);
    }
    return createRequire(found)(found);
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new RuntimeError("UserCodeSyntaxError", `SyntaxError: ${error.message}`);
    }
    if (error.code === "MODULE_NOT_FOUND" || error.code === "ERR_MODULE_NOT_FOUND") {
      throw new RuntimeError("ImportModuleError", `Error: ${error.message}`);
    }
    throw error;
  }
}

function isModule(file) {
  for (let folder = path.dirname(file); folder.startsWith(ROOT); folder = path.dirname(folder)) {
    const declared = path.join(folder, "package.json");
    if (fs.existsSync(declared)) {
      return JSON.parse(fs.readFileSync(declared, "utf8")).type === "module";
    }
    if (folder === path.dirname(folder)) break;
  }
  return false;
}

function contextOf(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const client = headers["lambda-runtime-client-context"];
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: client ? JSON.parse(client) : undefined,
    identity: undefined,
    tenantId: headers["lambda-runtime-aws-tenant-id"],
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: requestId,
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

// A promise decides; without one the callback does, or the end of all work.
function run(handler, event, context) {
  return new Promise((resolve, reject) => {
    const finish = (settle, value) => {
      process.removeListener("beforeExit", onIdle);
      settle(value);
    };
    const onIdle = () => finish(resolve, null);
    const done = (error, value) => {
      process.removeListener("beforeExit", onIdle);
      if (error !== null && error !== undefined) finish(reject, error);
      else if (context.callbackWaitsForEmptyEventLoop) process.once("beforeExit", () => finish(resolve, value));
      else finish(resolve, value);
    };
    context.done = done;
    context.succeed = (value) => finish(resolve, value);
    context.fail = (error) => finish(reject, error);
    const answer = handler(event, context, done);
    if (answer && typeof answer.then === "function") {
      answer.then((value) => finish(resolve, value), (error) => finish(reject, error));
    } else {
      process.once("beforeExit", onIdle);
    }
  });
}

// An answer that leaves while it is made. It begins with the first write, so that its type can be set until then.
// Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
class ResponseStream extends Writable {
  contentType = "application/octet-stream";
  prelude = null;
  request = null;

  setContentType(type) {
    if (this.request) throw new Error("Cannot set content-type, the answer has begun.");
    this.contentType = type;
    return this;
  }

  begin() {
    if (this.request) return;
    const headers = {
      "Content-Type": this.contentType,
      "Transfer-Encoding": "chunked",
      "Lambda-Runtime-Function-Response-Mode": "streaming",
      Trailer: "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
    };
    const where = `/2018-06-01/runtime/invocation/${requestId}/response`;
    this.request = http.request({ host: HOST, port: PORT, method: "POST", path: where, agent: AGENT, headers });
    this.answered = new Promise((resolve, reject) => {
      this.request.on("error", reject);
      this.request.on("response", (answer) => answer.resume().on("end", resolve));
    });
    this.answered.catch((error) => this.destroy(error));
    this.request.flushHeaders();
    if (this.prelude) this.request.write(this.prelude);
  }

  _write(chunk, encoding, done) {
    this.begin();
    this.request.write(chunk, done);
  }

  _final(done) {
    this.begin();
    this.request.end();
    this.answered.then(() => done(), done);
  }

  // The answer can't be taken back: what went wrong is said after it.
  async breakOff(error) {
    const told = describe(error);
    this.request.addTrailers({
      "Lambda-Runtime-Function-Error-Type": told.errorType,
      "Lambda-Runtime-Function-Error-Body": Buffer.from(JSON.stringify(told)).toString("base64"),
    });
    this.request.end();
    await this.answered;
  }
}

async function runStreaming(handler, event, context) {
  const stream = new ResponseStream();
  const done = finished(stream);
  done.catch(() => {});
  try {
    await handler(event, stream, context);
    if (!stream.writableEnded) stream.end();
    await done;
  } catch (error) {
    if (!stream.request) throw error;
    logError(error);
    await stream.breakOff(error);
  }
}

async function answerOf(handler, event, context) {
  const value = await run(handler, event, context);
  try {
    return JSON.stringify(value === undefined ? null : value);
  } catch (error) {
    throw new RuntimeError("MarshalError", `Unable to stringify response body: ${error.message}`);
  }
}

function logError(error) {
  const told = describe(error);
  log("ERROR", ["Invoke Error", IS_JSON ? "" : "\t" + JSON.stringify({ ...told, stack: told.trace, trace: undefined })]);
  return told;
}

async function fail(error) {
  const told = logError(error);
  const headers = { "Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": told.errorType };
  await call("POST", `invocation/${requestId}/error`, JSON.stringify(told), headers);
}

function onUncaught(kind) {
  return async (error) => {
    const told = kind === "rejection" ? new RuntimeError("UnhandledPromiseRejection", `${error}`) : error;
    await fail(told);
    process.exit(kind === "rejection" ? 128 : 129);
  };
}

async function main() {
  let handler;
  try {
    handler = await load();
  } catch (error) {
    const told = describe(error);
    log("ERROR", ["Uncaught Exception", IS_JSON ? "" : "\t" + JSON.stringify(told)]);
    await call("POST", "init/error", JSON.stringify(told), { "Lambda-Runtime-Function-Error-Type": told.errorType });
    process.exit(1);
  }
  process.on("unhandledRejection", onUncaught("rejection"));
  process.on("uncaughtException", onUncaught("exception"));
  for (;;) {
    const next = await call("GET", "invocation/next");
    requestId = next.headers["lambda-runtime-aws-request-id"];
    process.env._X_AMZN_TRACE_ID = next.headers["lambda-runtime-trace-id"] || "";
    try {
      const event = JSON.parse(next.body.toString());
      if (handler[STREAMING]) {
        await runStreaming(handler, event, contextOf(next.headers));
        continue;
      }
      const body = await answerOf(handler, event, contextOf(next.headers));
      await call("POST", `invocation/${requestId}/response`, body, { "Content-Type": "application/json" });
    } catch (error) {
      await fail(error);
    }
  }
}

main();
