// The messages of the socket and the host's part of the state, as the daemon declares them.
// Generated from host/core/src/wire. Do not edit: change the Rust types and run
//     UPDATE_TYPES=1 cargo test -p autobench-core --test wire_types

/** A message of the client was taken. */
export type Ack = {
/** Always true; a refusal is an `error`. */
ok: boolean,
/** The id of the message, if it had one. */
id?: MessageId,
/** The command that the message asked for, if it asked for one. */
commandId?: string, };

/** An alarm was raised, has changed, or was cleared. */
export type Alarm = {
/** Its number in this run of the daemon. */
alarmId: number,
/** The device that raised it. */
device?: string,
/** How grave. */
severity: Severity,
/** For a person. */
message: string,
/** When it was raised, changed or cleared, whichever this is, ISO 8601. */
timestamp: string,
/** Whether it stands. */
state: AlarmState, };

/** An alarm that stands. */
export type AlarmEntry = {
/** Its number in this run of the daemon. */
alarmId: number,
/** The device that raised it. */
device: string,
/** How grave. */
severity: Severity,
/** For a person. */
message: string,
/** When it was raised, ISO 8601. */
raisedAt: string, };

/** Whether an alarm stands. */
export type AlarmState = "raised" | "cleared";

/** Settings that clients follow. */
export type AppConfig = {
/** Share of requests that are logged, from 0 to 1. */
requestSample: number,
/** Switches by name. */
features: { [key in string]: boolean }, };

/** The whole state document. */
export type AppState = {
/** Rises by one with each mutation. */
version: number,
/** The daemon itself. */
meta: Meta,
/** For the person before the page; empty when there is nothing to say. */
message: string,
/** Which panes are shown where. */
layout: Layout,
/** Settings that clients follow. */
config: AppConfig,
/** Settings of the connection and of the log view. */
serverConfig: ServerConfig,
/** By file stem. */
plugins: { [key in string]: PluginEntry },
/** By device id. */
devices: { [key in string]: DeviceEntry },
/** Video and other streams, by name. */
streams: Record<string, unknown>,
/** Benchmark jobs. */
jobs: JobsEntry,
/** Analysis after a run. */
pno: PnoEntry,
/** The log ring, without its entries. */
logs: LogsEntry,
/** Alarms that stand, by name. */
alarms: { [key in string]: AlarmEntry }, [slice: string]: unknown };

/** One block. What its driver did not say is absent. */
export type Block = {
/** Names the block on its device. */
blockId: string,
/** What kind of step it is. */
blockType?: string,
/** Its name. */
blockName?: string,
/** What a person is shown. */
displayText?: string,
/** When it began and ended. */
timing: BlockTiming,
/** `running` while it runs; then how it ended: `completed`, or what its driver says, or `aborted` if its driver stopped. */
status: string,
/** What came of it. */
result?: unknown,
/** The device whose driver runs it. */
device?: string, };

/** A block has begun, or is over. */
export type BlockMessage = {
/** The block. */
data: Block, };

/** When a block began and ended. */
export type BlockTiming = {
/** ISO 8601. Absent if only the end was heard of. */
startTime?: string,
/** ISO 8601. Absent while it runs. */
endTime?: string, };

/** One client. */
export type ClientEntry = {
/** Names the connection. */
clientId: string,
/** Address and port of its other end. */
peer: string,
/** What it calls itself; empty if it did not say. */
name: string,
/** The page that it shows; empty if it did not say. */
page: string,
/** When it connected, ISO 8601. */
since: string,
/** The channels that it gets; a telemetry series as `telemetry:<endpointId>`. */
subscriptions: Array<string>,
/** Which log entries it wants, if not all. */
filter?: LogFilter,
/** How far behind it is. */
lag: ClientLag,
/** What it last said of its hardware. */
health?: HardwareHealth, };

/** One message of a client, with the id that its answer carries. */
export type ClientFrame = {
/** Any text or number; echoed in the answer. */
id?: MessageId, } & ({ "type": "hello",
/** Name of the client. */
name?: string,
/** Page that it shows. */
page?: string, } | { "type": "auth",
/** The token itself. */
token: Secret, } | { "type": "ping" } | { "type": "state.resync" } | { "type": "logs.replay",
/** The last number that the client has. */
sinceSeq: number, } | { "type": "subscribe" } & Subscription | { "type": "unsubscribe" } & Topic | { "type": "subscribe_logs",
/** Which ones. Absent: all. */
filters?: LogFilter, } | { "type": "unsubscribe_logs" } | { "type": "identify_client",
/** Who. */
clientInfo: ClientInfo, } | { "type": "request_initial_state" } | { "type": "hardware_health_update" } & HardwareHealth | { "type": "command" } & CommandRequest | { "type": "command.cancel",
/** Which. */
commandId: string, } | { "type": "lease.renew",
/** The command. */
commandId: string, } | { "type": "lease.end",
/** The command. */
commandId: string, });

/** The answer to `identify_client`. */
export type ClientIdentified = {
/** Who the client is now. */
data: Identified,
/** The id of the message, if it had one. */
id?: MessageId, };

/** Who a client says it is. */
export type ClientInfo = {
/** Name of the client. */
name?: string,
/** Page that it shows. */
page?: string, };

/** How far behind a client is. */
export type ClientLag = {
/** Versions of the state that it lacks. Absent if it does not follow the state, or waits for a snapshot. */
versions?: number,
/** Log entries that it lacks. Absent if it does not follow the log, or waits for its history. */
logEntries?: number,
/** Messages for it alone that wait. */
waiting: number,
/** For how long its socket has taken nothing although something waits for it. Absent if it takes what comes. */
stalledMs?: number, };

/** The colours that a log view has to know. */
export type Color = "blue" | "cyan" | "gray" | "green" | "magenta" | "red" | "white" | "yellow";

/** How far a command is, in the driver's words. */
export type CommandProgress = {
/** For a person. */
message: string,
/** From 0 to 1, where known. */
share?: number, };

/** A command as a client asks for it, on the socket and over HTTP alike. */
export type CommandRequest = {
/** The device. */
device: string,
/** Name of the command, from the manifest of the device's plugin. */
name: string,
/** Its arguments, by the schema that the manifest gives. Absent: none. */
args?: { [name: string]: unknown },
/** The same key, from the same user for the same device, is the same command for a day: it is done once. */
idempotencyKey?: string,
/** How long it may take, from now on. Absent: 30 s. */
deadlineMs?: number, };

/** How far a command is. */
export type CommandStage = "queued" | "sent" | "acked" | "succeeded" | "failed" | "blocked" | "expired" | "cancelled";

/** How a command is: every stage that it has reached, with its time. */
export type CommandStatus = {
/** Its name among all commands. */
commandId: string,
/** The device. */
device: string,
/** What it is, by the manifest. */
name: string,
/** Who asked. */
actor: string,
/** How far it is. */
status: CommandStage,
/** Why it ended so. What the daemon itself says begins with a stable word and a colon: see docs/commands.md. */
reason?: string,
/** What the device really has now, where the driver says so. */
actualValue?: unknown,
/** What the driver said last of how far it is. */
progress?: CommandProgress,
/** When it was taken, ISO 8601. */
queuedAt: string,
/** When the driver had dealt with it. */
sentAt?: string,
/** When the device had taken it. */
ackedAt?: string,
/** When it was over. */
completedAt?: string,
/** When it expires. */
deadlineAt: string, };

/** The name of the connection, once more, for clients that did not ask for the subprotocol. */
export type Connected = {
/** Names this connection, as in `welcome`. */
clientId: string, };

/** A device of the bench. */
export type DeviceEntry = {
/** What kind of device: the name in the driver's manifest. */
type: string,
/** File stem of its plugin. */
plugin: string,
/** Its member of the state. */
slice: string,
/** How its driver fares. */
status: DeviceStatus,
/** Why it is so; absent when there is nothing to say. */
reason?: string,
/** Phase in the driver's own words. */
phase?: string,
/** The running instance; absent before the first start. */
driver?: DriverEntry,
/** By name in `plugins.toml`. */
ports: { [key in string]: PortEntry },
/** By name in the manifest. */
series: { [key in string]: SeriesEntry },
/** When its driver last handled an event of its device, ISO 8601. */
lastSeen?: string,
/** Since when its slice is not kept up to date, ISO 8601; absent while it is live. */
staleSince?: string, };

/** How a driver fares. */
export type DeviceStatus = "starting" | "running" | "restarting" | "quarantined" | "stopped" | "refused";

/** The running instance of a plugin. */
export type DriverEntry = {
/** Hash of the file that runs, hexadecimal. */
sha256: string,
/** Its version. */
version: string,
/** Rises with every flip, return and restart. */
generation: number,
/** Counters of the host about it. */
health: Record<string, unknown>,
/** What came of the newest attempt to replace it; absent before the first, and once the refused file has given way to the one that runs. */
lastReload?: LastReload,
/** The newest breakdown, of whichever version; absent before the first. */
lastFault?: DriverFault, };

/** How a version of a driver broke down, and where. */
export type DriverFault = {
/** When, ISO 8601. */
at: string,
/** `trap`, `deadline`, `limit`, `contract`, `refused`, `failed` or `slice`. */
code: string,
/** The same for a person. */
message: string,
/** The export that was running. */
export?: string,
/** The innermost function. */
function?: string,
/** File and line of its source, if its build kept them and they are asked for. */
source?: string,
/** File stem of the plugin. */
plugin: string,
/** Its version; absent while its manifest is not known. */
version?: string,
/** Hash of its file, hexadecimal. */
sha256: string,
/** Name of the file with its memory, where dumps are kept. */
coreDump?: string, };

/** Why a message of a client was not taken. */
export type ErrorCode = "bad-json" | "bad-message" | "unknown-type" | "unknown-channel" | "unknown-endpoint" | "unauthorized" | "forbidden" | "too-large" | "rate-limited" | "too-many-subscriptions" | "unknown-device" | "not-ready" | "unknown-command" | "not-granted" | "bad-arguments" | "bad-deadline" | "bad-key" | "busy" | "idempotency-mismatch" | "too-many-keys" | "unknown-command-id" | "needs-socket" | "unknown-lease" | "missed";

/** A message of the client was not taken. */
export type ErrorMessage = {
/** Stable: programs may compare it. */
code: ErrorCode,
/** For a person: what, where, and what to do instead. */
message: string,
/** The id of the message, if it had one. */
id?: MessageId, };

/** Something happened. */
export type Event = {
/** Milliseconds since 1970. */
timestamp: number,
/** What. */
event: EventBody, };

/** What happened. */
export type EventBody = {
/** Its name in this run of the daemon. */
_id: string,
/** What it belongs to: the bootId where there is nothing narrower. */
process_id: string,
/** The device or the part of the daemon that says it. */
sender: string | null,
/** For a person. */
message: string,
/** How grave. */
level: LogLevel,
/** An object whose `kind` says what else is in it. */
context: { kind: string, [key: string]: unknown }, };

/** What runs and what has run. */
export type ExecutionState = {
/** Blocks that run, in the order in which they began. */
active: Array<Block>,
/** Blocks that are over, newest first. */
recent: Array<Block>,
/** What a driver last said in `executionContext`; empty before. */
executionContext: { [key: string]: unknown }, };

/** How a client's own hardware is, in its own words. */
export type HardwareHealth = { [field: string]: unknown };

/** Who a client is. */
export type Identified = {
/** Names this connection, as in `welcome`. */
clientId: string,
/** What it calls itself; empty if it did not say. */
name: string,
/** The page that it shows; empty if it did not say. */
page: string, };

/** The answer to `request_initial_state`. */
export type InitialExecutionState = {
/** When it was sent, ISO 8601. */
timestamp: string,
/** What runs and what has run. */
data: ExecutionState,
/** The id of the question, if it had one. */
id?: MessageId, };

/** Benchmark jobs. */
export type JobsEntry = {
/** Waiting. */
queue: unknown[],
/** At work. */
running: unknown[],
/** The newest that is over; absent before the first. */
lastCompleted?: unknown, };

/** What came of an attempt to replace a driver. */
export type LastReload = {
/** When, ISO 8601. */
at: string,
/** What came of it. */
verdict: ReloadVerdict,
/** Hash of the file that ran. */
from?: string,
/** Hash of the file that was to run. */
to?: string,
/** Why. */
reason?: string,
/** How long no driver was fed, in microseconds. */
pauseUs?: number,
/** Bytes that the new one was given again. */
carriedBytes?: number, };

/** Which panes are shown where. */
export type Layout = {
/** Rows of the grid. */
rows: number,
/** Columns of the grid. */
cols: number,
/** The panes, in the order of the page. */
panes: Array<Pane>, };

/** What the daemon takes from clients. */
export type Limits = {
/** Connections at once. */
clients: number,
/** Subscriptions of one client; the ids of one message count as one. */
subscriptions: number,
/** Messages of one client per second, in the long run. */
messagesPerS: number,
/** Messages of one client at once. */
messageBurst: number,
/** Size of one message of a client. */
messageBytes: number,
/** How often the daemon asks whether a silent client is there. */
heartbeatIntervalMs: number,
/** How long a client may be silent. */
heartbeatTimeoutMs: number, };

/** One log entry. */
export type LogEntry = {
/** Its number; rises by one with each entry that clients may see. */
seq: number,
/** When, in milliseconds since 1970. */
ts: number,
/** Where it comes from; a part after a colon is a finer division. */
channel: string,
/** A picture for the channel. */
emoji: string,
/** How grave. */
level: LogLevel,
/** The text. */
message: string,
/** Colour of the channel. */
color: Color,
/** The device, where there is one. */
tag?: string,
/** The part of the daemon, where it is known. */
module?: string, };

/** Which entries a client wants: those that pass each condition. A condition that is absent lets everything pass; an empty list nothing. */
export type LogFilter = {
/** One of these levels. */
level?: LogLevel | Array<LogLevel>,
/** One of these channels; `device` also stands for `device:meter`. */
channel?: string | Array<string>,
/** One of these tags. */
tag?: string | Array<string>,
/** One of these modules; `hub` also stands for `hub::client`. */
module?: string | Array<string>,
/** One of these texts is part of the message, in capitals or not. */
text?: string | Array<string>, };

/** How grave a log entry is, least first. */
export type LogLevel = "debug" | "info" | "warn" | "error" | "fatal";

/** Log entries and the range that they cover: a client has seen everything up to `toSeq` then, or was told in `missed` what is lost. */
export type LogRange = {
/** First number that is covered. */
fromSeq: number,
/** Last number that is covered; `fromSeq - 1` when there is none. */
toSeq: number,
/** What the ring has overwritten before it could be sent. */
missed?: LogSpan,
/** Oldest first. */
entries: Array<LogEntry>, };

/** A range of log entries, both ends included. */
export type LogSpan = {
/** First number. */
fromSeq: number,
/** Last number. */
toSeq: number, };

/** Settings of the log view. */
export type LogsClientConfig = {
/** Entries that a client gets when it connects. */
snapshot: number,
/** Entries that a client should keep. */
capacity: number,
/** Channels that clients see; empty for all. */
allowedChannels: Array<string>,
/** Lowest level that clients see. */
minLevel: LogLevel, };

/** The log ring, without its entries. */
export type LogsEntry = {
/** The number that the next entry gets. */
nextSeq: number,
/** Most entries that it keeps. */
capacity: number,
/** Entries that it keeps now. */
size: number,
/** Place in the ring that the next entry takes, from 0. */
head: number, };

/** The id of a client's message, in the client's own words. */
export type MessageId = number | string;

/** The daemon itself. */
export type Meta = {
/** Names one run of the daemon: 16 hexadecimal digits. */
bootId: string,
/** When it started, ISO 8601. */
startedAt: string,
/** Version of the daemon. */
build: string,
/** How far it is. */
status: MetaStatus,
/** Connected clients. */
clients: number,
/** Versions that the client farthest behind lacks, rounded up to a power of two; 0 if all keep up. */
maxClientLagVersions: number,
/** Log entries of level error and fatal since the start. */
errors: number,
/** Durations by name, in milliseconds. */
timings: { [key in string]: number }, };

/** How far the daemon is. */
export type MetaStatus = "booting" | "ready" | "error";

/** One view of one slice. */
export type Pane = {
/** Its name on the page. */
id: string,
/** Which view. */
pane: string,
/** The slice it shows. */
slice?: string,
/** The device behind the slice. */
device?: string,
/** First row, from 0. */
row: number,
/** First column, from 0. */
col: number,
/** Rows it covers. */
rowSpan: number,
/** Columns it covers. */
colSpan: number, };

/** One operation of RFC 6902; the daemon uses no others. */
export type PatchOperation = { "op": "add",
/** Where. */
path: string,
/** What. */
value: unknown, } | { "op": "replace",
/** Where. */
path: string,
/** What. */
value: unknown, } | { "op": "remove",
/** Where. */
path: string, };

/** A plugin on disk. */
export type PluginEntry = {
/** Name of its file. */
file: string,
/** Hash of its file, hexadecimal. */
sha256: string,
/** Its name in its own words; absent while its manifest is not known. */
name?: string,
/** Its version in its own words; absent while its manifest is not known. */
version?: string,
/** What it says of itself. */
manifest?: Record<string, unknown>,
/** What became of it. */
status: PluginStatus,
/** Why it is refused, or what it waits for; absent otherwise. */
reason?: string,
/** The version in the file, while it waits for consent; absent otherwise. */
waiting?: WaitingEntry,
/** The word for it that stays the same. */
code?: string,
/** Where it broke down, if that is why. */
fault?: DriverFault,
/** Devices that run it. */
devices: Array<string>, };

/** What became of a plugin. */
export type PluginStatus = "compiling" | "bound" | "unbound" | "refused" | "waiting-for-consent";

/** Analysis after a run. */
export type PnoEntry = {
/** What it does. */
status: string,
/** How far it is, from 0 to 1. */
progress?: number,
/** When it last ran, ISO 8601. */
lastRunAt?: string,
/** What its last run came to. */
summary?: unknown,
/** What it found. */
findings: unknown[], };

/** The answer to `ping`. */
export type Pong = {
/** The daemon's time in milliseconds since 1970. */
ts: number,
/** The id of the ping, if it had one. */
id?: MessageId, };

/** A serial line of a device. */
export type PortEntry = {
/** Path of the line; absent while it is not known. */
path?: string,
/** Whether the line is open. */
attached: boolean,
/** What the system knows of the device behind it. */
identity?: PortIdentityEntry, };

/** What the system knows of the device behind a port. */
export type PortIdentityEntry = {
/** USB vendor id. */
usbVendorId?: number,
/** USB product id. */
usbProductId?: number,
/** USB serial number. */
serialNumber?: string,
/** More, as keys and texts. */
attributes?: { [key in string]: string }, };

/** What came of an attempt to replace a driver. */
export type ReloadVerdict = "swapped" | "refused" | "cold" | "returned";

/** A text that no log may ever show. */
export type Secret = string;

/** A telemetry series. */
export type SeriesEntry = {
/** The number by which clients subscribe. */
endpointId: number,
/** Unit of its values. */
unit: string,
/** What its values are. */
kind: SeriesKind, };

/** What the values of a series are. */
export type SeriesKind = "measurement" | "total";

/** Settings of the connection and of the log view. The defaults are those of the environment variables that change them. */
export type ServerConfig = {
/** The log view. */
logs: LogsClientConfig,
/** The connection. */
ws: WsClientConfig, };

/** One message of the daemon. */
export type ServerMessage = { "type": "welcome" } & Welcome | { "type": "connected" } & Connected | { "type": "state.snapshot" } & StateSnapshot | { "type": "state.patch" } & StatePatch | { "type": "logs.history" } & LogRange | { "type": "logs.append" } & LogRange | { "type": "telemetry" } & Telemetry | { "type": "event" } & Event | { "type": "alarm" } & Alarm | { "type": "client_identified" } & ClientIdentified | { "type": "initial_execution_state" } & InitialExecutionState | { "type": "block_started_enhanced" } & BlockMessage | { "type": "block_executed_enhanced" } & BlockMessage | { "type": "command_status" } & CommandStatus | { "type": "pong" } & Pong | { "type": "ack" } & Ack | { "type": "error" } & ErrorMessage;

/** How grave an alarm is. */
export type Severity = "info" | "warning" | "critical";

/** What a subscription without a channel asks for. */
export type SnapshotRequest = {
/** Whether it wants the state. Absent: yes. */
includeSnapshot?: boolean,
/** How many log entries it wants. Absent: as many as on connect. */
logsHistory?: number, };

/** What has changed in the state. */
export type StatePatch = {
/** The version that it applies to. */
fromVersion: number,
/** The version that it leads to. */
toVersion: number,
/** Operations in order; the last writes `/version`. */
patch: Array<PatchOperation>, };

/** The whole state. */
export type StateSnapshot = {
/** Names this run of the daemon; versions of two runs cannot be compared. */
bootId: string,
/** `data.version` again. */
stateVersion: number,
/** The document. */
data: AppState, };

/** What a client subscribes to. */
export type Subscription = Topic | {
/** How much of them. */
payload: SnapshotRequest, };

/** Samples of one series. */
export type Telemetry = {
/** The series. */
endpointId: number,
/** Its name: device and series with a dot between. */
endpoint: string,
/** Unit of its values. */
unit: string,
/** Milliseconds since 1970 and value, oldest first. */
samples: Array<[number, number]>,
/** The newest value. */
value: number,
/** When the newest value was taken, ISO 8601. */
timestamp: string,
/** How many samples before these the ring has overwritten before this client took them. */
missed?: number, };

/** A channel. State and logs are on from the start. */
export type Topic = { "channel": "state" } | { "channel": "logs" } | { "channel": "alarms" } | { "channel": "events" } | { "channel": "telemetry",
/** The series. Absent, which only `unsubscribe` may: all that the client has. */
endpointIds?: Array<number>, } | { "channel": "commands",
/** The commands. Absent: all of them. */
commandIds?: Array<string>, };

/** A version that wants more than was consented to, and is not run before somebody consents. */
export type WaitingEntry = {
/** Hash of its file, hexadecimal. */
sha256: string,
/** Its version in its own words. */
version: string,
/** Devices on which it waits; what ran there goes on. */
devices: Array<string>,
/** What it wants more. */
wants: Array<WantEntry>, };

/** One thing that a version wants. */
export type WantEntry = {
/** `port`, `slice`, `dangerous-command`, `memory-bytes` or `slice-bytes`. */
kind: string,
/** Its name, or its number of bytes. */
value: string,
/** For a person. */
words: string, };

/** The first message of every connection. */
export type Welcome = {
/** `autobench.v1`. */
protocol: string,
/** When it was sent, ISO 8601. */
serverTime: string,
/** Version of the daemon. */
serverVersion: string,
/** Names this run of the daemon. */
bootId: string,
/** Names this connection. */
clientId: string,
/** What the daemon takes from one client. */
limits: Limits,
/** What this daemon can do beyond the protocol's core. */
features: Array<string>,
/** Whether the missing patches follow instead of a snapshot. */
resumed: boolean,
/** Whether nothing follows until the client has sent `auth`. */
authRequired?: boolean, };

/** Settings of the connection. */
export type WsClientConfig = {
/** How often a client pings. */
heartbeatIntervalMs: number,
/** How long it waits for the answer. */
heartbeatTimeoutMs: number,
/** Whether it connects again. */
reconnectEnabled: boolean,
/** First wait before it connects again. */
reconnectMinMs: number,
/** Longest wait. */
reconnectMaxMs: number,
/** What each wait is multiplied by. */
reconnectFactor: number,
/** Share of a wait that is random. */
reconnectJitter: number, };
