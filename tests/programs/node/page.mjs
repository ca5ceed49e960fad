// In a page: takes the settings from where the page came from, and shows what
// came of them.
import { run } from "./grpc_web.mjs";

const settings = await (await fetch("settings")).json();
const told = await run(settings).catch((error) => ({ error: String(error) }));
const shown = document.createElement("pre");
shown.id = "told";
shown.textContent = JSON.stringify(told);
document.body.append(shown);
