// The frames of tests/fixtures/wire as TypeScript, so that the compiler holds them to the generated types.
// Generated. Do not edit: run
//     UPDATE_TYPES=1 cargo test -p autobench-core --test golden_frames

import type { ClientFrame, ServerMessage } from '../../src/wire/generated/wire'

export const serverFrames: Readonly<Record<string, ServerMessage>> = {
  'ack': {"id":"s-1","ok":true,"type":"ack"},
  'alarm': {"alarmId":42,"device":"meter","message":"more than 90 W","severity":"critical","state":"raised","timestamp":"2026-01-01T00:00:02.000Z","type":"alarm"},
  'block_executed_enhanced': {"data":{"blockId":"block_1758090035157_3igzjpzov","blockName":"EC","blockType":"sensor","device":"flow","displayText":"Измерва EC...","result":{"ec":1.4},"status":"completed","timing":{"endTime":"2025-09-18T19:21:02.000Z","startTime":"2025-09-18T19:21:00.007Z"}},"type":"block_executed_enhanced"},
  'block_started_enhanced': {"data":{"blockId":"block_1758090035157_3igzjpzov","blockName":"EC","blockType":"sensor","device":"flow","displayText":"Измерва EC...","status":"running","timing":{"startTime":"2025-09-18T19:21:00.007Z"}},"type":"block_started_enhanced"},
  'client_identified': {"data":{"clientId":"c-1","name":"ProgramDashboard","page":"dashboard"},"id":"who","type":"client_identified"},
  'command_status': {"ackedAt":"2026-01-01T00:00:00.010Z","actor":"local","actualValue":true,"commandId":"7f3a0000-12","completedAt":"2026-01-01T00:00:00.210Z","deadlineAt":"2026-01-01T00:00:30.000Z","device":"relay","name":"pulse","progress":{"message":"closed for 200 ms","share":0.5},"queuedAt":"2026-01-01T00:00:00.000Z","reason":"the contact bounced","sentAt":"2026-01-01T00:00:00.002Z","status":"succeeded","type":"command_status"},
  'connected': {"clientId":"c-1","type":"connected"},
  'error': {"code":"unknown-endpoint","id":"s-2","message":"there is no telemetry series 9; see devices.<id>.series in the state","type":"error"},
  'event': {"event":{"_id":"7f3a91c04be25d68-7","context":{"kind":"DriverReload","verdict":"swapped"},"level":"info","message":"version 0.1.1 runs","process_id":"7f3a91c04be25d68","sender":"meter"},"timestamp":1767225602000,"type":"event"},
  'initial_execution_state': {"data":{"active":[{"blockId":"block_2","blockType":"wait","device":"flow","status":"running","timing":{"startTime":"2025-09-18T19:21:02.000Z"}}],"executionContext":{"program":"morning"},"recent":[{"blockId":"block_1758090035157_3igzjpzov","blockName":"EC","blockType":"sensor","device":"flow","displayText":"Измерва EC...","result":{"ec":1.4},"status":"completed","timing":{"endTime":"2025-09-18T19:21:02.000Z","startTime":"2025-09-18T19:21:00.007Z"}}]},"id":5,"timestamp":"2025-09-18T19:21:03.000Z","type":"initial_execution_state"},
  'logs.append': {"entries":[{"channel":"device","color":"green","emoji":"🔌","level":"warn","message":"the line is not open: lost","seq":24,"tag":"meter","ts":1767225600024},{"channel":"device","color":"green","emoji":"🔌","level":"info","message":"the line is open again","seq":25,"tag":"meter","ts":1767225600025}],"fromSeq":21,"missed":{"fromSeq":21,"toSeq":23},"toSeq":25,"type":"logs.append"},
  'logs.history': {"entries":[{"channel":"app","color":"white","emoji":"📦","level":"info","message":"serves on 127.0.0.1:9898","module":"http","seq":19,"ts":1767225600019},{"channel":"device","color":"green","emoji":"🔌","level":"info","message":"driver is live","module":"driver","seq":20,"tag":"meter","ts":1767225600020}],"fromSeq":19,"toSeq":20,"type":"logs.history"},
  'pong': {"id":4,"ts":1767225600000,"type":"pong"},
  'state.patch': {"fromVersion":12,"patch":[{"op":"replace","path":"/powerMeter/lastSample/watts","value":97.1},{"op":"add","path":"/alarms/over-power","value":{"alarmId":42,"device":"meter","message":"more than 90 W","raisedAt":"2026-01-01T00:00:02.000Z","severity":"critical"}},{"op":"remove","path":"/devices/meter/staleSince"},{"op":"replace","path":"/version","value":14}],"toVersion":14,"type":"state.patch"},
  'state.snapshot': {"bootId":"7f3a91c04be25d68","data":{"alarms":{},"config":{"features":{},"requestSample":1},"devices":{"meter":{"driver":{"generation":1,"health":{},"sha256":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","version":"0.1.0"},"lastSeen":"2026-01-01T00:00:01.000Z","phase":"streaming","plugin":"power-meter","ports":{"main":{"attached":true,"identity":{"serialNumber":"A9014J7K","usbProductId":24577,"usbVendorId":1027},"path":"/dev/ttyUSB0"}},"series":{"watts":{"endpointId":1,"kind":"measurement","unit":"W"}},"slice":"powerMeter","status":"running","type":"power-meter"}},"jobs":{"queue":[],"running":[]},"layout":{"cols":2,"panes":[{"col":0,"colSpan":1,"device":"meter","id":"power","pane":"power-meter","row":0,"rowSpan":1,"slice":"powerMeter"},{"col":1,"colSpan":1,"id":"logs","pane":"logs","row":0,"rowSpan":1}],"rows":1},"logs":{"capacity":500,"head":20,"nextSeq":21,"size":20},"message":"","meta":{"bootId":"7f3a91c04be25d68","build":"0.1.0","clients":1,"errors":0,"maxClientLagVersions":0,"startedAt":"2026-01-01T00:00:00.000Z","status":"ready","timings":{"start":62}},"plugins":{"power-meter":{"devices":["meter"],"file":"power-meter.wasm","manifest":{},"name":"power-meter","sha256":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","status":"bound","version":"0.1.0"}},"pno":{"findings":[],"status":"idle"},"powerMeter":{"lastSample":{"amps":0.792,"ts":"2026-01-01T00:00:01.000Z","volts":120.4,"watts":96.5},"phase":"streaming","stats":{"badRows":0,"bytesReceived":82,"lastErrorAt":null,"lastSampleAt":1767225601000,"totalSamples":1}},"serverConfig":{"logs":{"allowedChannels":[],"capacity":500,"minLevel":"debug","snapshot":200},"ws":{"heartbeatIntervalMs":10000,"heartbeatTimeoutMs":5000,"reconnectEnabled":true,"reconnectFactor":1.8,"reconnectJitter":0.2,"reconnectMaxMs":15000,"reconnectMinMs":1000}},"streams":{},"version":12},"stateVersion":12,"type":"state.snapshot"},
  'telemetry': {"endpoint":"meter.watts","endpointId":1,"missed":3,"samples":[[1767225600000,96.5],[1767225601000,97.1]],"timestamp":"2026-01-01T00:00:01.000Z","type":"telemetry","unit":"W","value":97.1},
  'welcome': {"bootId":"7f3a91c04be25d68","clientId":"c-1","features":["telemetry","events","alarms","commands","replay","resume"],"limits":{"clients":100,"heartbeatIntervalMs":30000,"heartbeatTimeoutMs":60000,"messageBurst":20,"messageBytes":65536,"messagesPerS":10,"subscriptions":50},"protocol":"autobench.v1","resumed":false,"serverTime":"2026-01-01T00:00:00.000Z","serverVersion":"0.1.0","type":"welcome"},
}
export const clientFrames: Readonly<Record<string, ClientFrame>> = {
  'auth': {"token":"ab-operator-0123456789abcdef0123456789abcdef","type":"auth"},
  'command': {"args":{"ms":200},"deadlineMs":5000,"device":"relay","id":7,"idempotencyKey":"press-1","name":"pulse","type":"command"},
  'command.cancel': {"commandId":"7f3a0000-12","id":8,"type":"command.cancel"},
  'hardware_health_update': {"data":{"cpuLoad":0.4,"relays":"ok"},"type":"hardware_health_update"},
  'hello': {"name":"wall","page":"/","type":"hello"},
  'identify_client': {"clientInfo":{"name":"ProgramDashboard","page":"dashboard"},"id":"who","type":"identify_client"},
  'lease.end': {"commandId":"7f3a0000-12","type":"lease.end"},
  'lease.renew': {"commandId":"7f3a0000-12","type":"lease.renew"},
  'logs.replay': {"sinceSeq":12,"type":"logs.replay"},
  'ping': {"id":4,"type":"ping"},
  'request_initial_state': {"id":5,"type":"request_initial_state"},
  'state.resync': {"type":"state.resync"},
  'subscribe': {"channel":"telemetry","endpointIds":[1,2],"id":"s-1","type":"subscribe"},
  'subscribe_logs': {"filters":{"channel":"device","level":["info","error"],"module":"sensor","tag":"FlowExecutor","text":"ec"},"type":"subscribe_logs"},
  'unsubscribe': {"channel":"telemetry","endpointIds":[1],"type":"unsubscribe"},
  'unsubscribe_logs': {"type":"unsubscribe_logs"},
}
