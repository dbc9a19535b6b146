// What the author of a driver in JavaScript uses.
//
// A driver is a class that derives from `Driver`, exported from `driver.js` under the name `driver`. The host pushes events into it; what it may
// touch stands in its `Context`. Its slice is a plain object, `cx.slice`, edited in place through `cx.edit()`: after each call the SDK compares it
// with what was last published and sends only the members that differ, at most 20 times a second, with a timer for the rest.
//
// The same class runs under `bench.js`, a host made of plain code with a clock that the test owns, so a driver is tested with `node --test`.

export { Context, HostError } from './context.js'
export { Driver, Refusal, Snapshot } from './driver.js'
export { LineFramer, PacketFramer } from './framer.js'
