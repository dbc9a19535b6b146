/**
 * A saved session behind the interface of the live one: every view runs with no daemon. The file holds one frame per line, as the
 * socket sent them. A frame may carry `atMs`, its time since the file's first frame; frames without it follow the one before at once.
 * After the last frame the connection stays open and answers pings, so the page shows how it goes quiet.
 */

import { isObject } from '../wire/decode'
import type { ClientMessage, Json, JsonObject } from '../wire/types'
import type { Opener } from './client'

export interface ReplayLine {
  readonly atMs: number
  readonly text: string
}

/** Reads a recording. Throws a sentence that names the first bad line. */
export function parseReplay(file: string): readonly ReplayLine[] {
  const lines: ReplayLine[] = []
  let atMs = 0
  for (const [index, line] of file.split('\n').entries()) {
    const text = line.trim()
    if (text === '') continue
    const frame = parseLine(text, index + 1)
    const at = frame['atMs']
    if (typeof at === 'number' && Number.isFinite(at)) atMs = Math.max(atMs, at)
    lines.push({ atMs, text })
  }
  return lines
}

/** Plays `lines` from the start on every connect. */
export function replayOpener(lines: readonly ReplayLine[]): Opener {
  return (_resume, events) => {
    const start = performance.now()
    let next = 0
    let timer: ReturnType<typeof setTimeout> | undefined

    function play(): void {
      for (let line = lines[next]; line !== undefined; line = lines[next]) {
        const waitMs = start + line.atMs - performance.now()
        if (waitMs > 0) {
          timer = setTimeout(play, waitMs)
          return
        }
        next += 1
        events.message(line.text)
      }
    }

    timer = setTimeout(() => {
      events.open()
      play()
    }, 0)
    return {
      send(message) {
        const answer = answerOf(message)
        if (answer !== null) setTimeout(() => events.message(JSON.stringify(answer)), 0)
      },
      close() {
        clearTimeout(timer)
        next = lines.length
      },
    }
  }
}

/** What a recording says to a message. */
function answerOf(message: ClientMessage): object | null {
  if (message.type === 'ping') return { type: 'pong' }
  if (message.type !== 'command' && message.type !== 'command.cancel' && message.type !== 'lease.renew' && message.type !== 'lease.end') return null
  return { type: 'error', code: 'replay', message: 'A recording takes no commands.', id: message.id }
}

/** The recording named by `?replay=`, if it lies on the page's own host. */
export function replayAddress(page: URL): URL | null {
  const name = page.searchParams.get('replay')
  if (name === null || name === '') return null
  const address = new URL(name, page)
  return address.origin === page.origin ? address : null
}

function parseLine(text: string, number: number): JsonObject {
  let frame: Json
  try {
    frame = JSON.parse(text) as Json
  } catch {
    throw new Error(`line ${number} of the recording is not JSON`)
  }
  if (!isObject(frame)) throw new Error(`line ${number} of the recording is no frame`)
  return frame
}
