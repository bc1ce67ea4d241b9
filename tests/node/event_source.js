// `node event_source.js URL TYPE…`: what the package `eventsource` is told, one JSON object a line.
import { EventSource } from "eventsource";
import { listen } from "./listen.js";

const [url, ...types] = process.argv.slice(2);
Object.assign(globalThis, { EventSource, tell: console.log });
listen({ url, types });
