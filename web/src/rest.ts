/**
 * The few questions that the page asks over HTTP: who is before it, and which commands there were. Everything else comes on the socket.
 */

import { decodeCommand, isObject } from './wire/decode'
import { listOf, textOf } from './wire/read'
import type { CommandRecord, Json } from './wire/types'

export interface Who {
  readonly actor: string
  readonly role: string
}

/** Null stands for "no answer": the daemon is away, or refuses. */
export interface Rest {
  who(): Promise<Who | null>
  /** The newest commands, newest first. */
  commands(): Promise<readonly CommandRecord[] | null>
  command(commandId: string): Promise<CommandRecord | 'unknown' | null>
}

export function createRest(ask: typeof fetch): Rest {
  async function get(path: string): Promise<{ readonly status: number; readonly body: Json } | null> {
    try {
      const response = await ask(`/api/v1/${path}`, { credentials: 'same-origin', cache: 'no-store' })
      return { status: response.status, body: (await response.json()) as Json }
    } catch {
      return null
    }
  }

  return {
    async who() {
      const answer = await get('session')
      const body = answer?.status === 200 && isObject(answer.body) ? answer.body : null
      const role = textOf(body, 'role')
      return role === undefined ? null : { actor: textOf(body, 'actor') ?? '', role }
    },
    async commands() {
      const answer = await get('commands')
      if (answer?.status !== 200 || !isObject(answer.body)) return null
      return listOf(answer.body, 'commands').flatMap((raw) => decodeCommand(raw) ?? [])
    },
    async command(commandId) {
      const answer = await get(`commands/${encodeURIComponent(commandId)}`)
      if (answer?.status === 404) return 'unknown'
      return answer?.status === 200 ? decodeCommand(answer.body) : null
    },
  }
}
