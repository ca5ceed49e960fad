// In Node.js: takes the settings from standard input, and prints what came of them.
import { readFileSync } from "node:fs";
import { run } from "./grpc_web.mjs";

console.log(JSON.stringify(await run(JSON.parse(readFileSync(0)))));
