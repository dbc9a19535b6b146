import { acceptHMRUpdate, defineStore } from 'pinia'
import { readonly, ref, shallowReactive } from 'vue'
import type { Rest } from '../rest'
import type { CommandRecord, CommandStage, JsonObject } from '../wire/types'

/** The daemon remembers as many. Beyond it the oldest go. */
export const COMMANDS_CAPACITY = 1_000

/** What became of a wish of this page, before the daemon has taken it: from then on its record says more. */
export type Wish = {
  /** The same for every attempt: the daemon does it once. */
  readonly key: string
} & (
  | ({ readonly state: 'asked' } & Attempt)
  | { readonly state: 'taken'; readonly commandId: string }
  | { readonly state: 'refused'; readonly code: string; readonly message: string }
  /** It was sent, and the link broke before the answer. */
  | ({ readonly state: 'unsure' } & Attempt)
)

/** What was asked for, as long as it may have to be asked again. Not longer: a text to be typed may be a password. */
interface Attempt {
  readonly args: JsonObject
  readonly deadlineMs?: number
}

/** How far along a stage is. Stages are never gone back to, and the last ones are all as final. */
const RANK: Readonly<Record<CommandStage, number>> = { queued: 0, sent: 1, acked: 2, succeeded: 3, failed: 3, blocked: 3, expired: 3, cancelled: 3 }

export function isOver(record: CommandRecord): boolean {
  return RANK[record.status] === 3
}

/** The commands of the bench as the daemon tells them, and the newest wish of this page for each command of each device. */
export const useCommands = defineStore('commands', () => {
  const records = shallowReactive(new Map<string, CommandRecord>())
  const wishes = shallowReactive(new Map<string, Wish>())
  /** Commands that were under way when the daemon ended, and that the next one does not know. */
  const lost = shallowReactive(new Set<string>())

  /** Rises with each change of the records. Who shows them all looks at this: each of them is a thousand places to follow. */
  const changes = ref(0)

  function newestFirst(): readonly CommandRecord[] {
    return [...records.values()].sort(byTime).reverse()
  }

  /** Takes what the socket says. It may come twice, and behind what was asked for over HTTP. */
  function take(record: CommandRecord): void {
    const known = records.get(record.commandId)
    if (known !== undefined && (RANK[known.status] > RANK[record.status] || isOver(known))) return
    records.set(record.commandId, record)
    if (records.size > COMMANDS_CAPACITY) records.delete(records.keys().next().value ?? '')
    changes.value += 1
  }

  /** Takes a list that may be older than what is known already. */
  function adopt(list: readonly CommandRecord[]): void {
    const merged = new Map(records)
    for (const record of list) {
      const known = merged.get(record.commandId)
      if (known === undefined || RANK[known.status] < RANK[record.status]) merged.set(record.commandId, record)
    }
    const kept = [...merged.values()].sort(byTime).slice(-COMMANDS_CAPACITY)
    records.clear()
    for (const record of kept) records.set(record.commandId, record)
    changes.value += 1
  }

  /** Fetches what was missed while nobody listened. */
  async function catchUp(rest: Rest): Promise<void> {
    const list = await rest.commands()
    if (list === null) return
    adopt(list)
    const listed = new Set(list.map(({ commandId }) => commandId))
    for (const record of [...records.values()].filter((one) => !isOver(one) && !listed.has(one.commandId))) {
      const now = await rest.command(record.commandId)
      if (now === 'unknown') lost.add(record.commandId)
      else if (now !== null) take(now)
    }
  }

  function wishOf(device: string, name: string): Wish | undefined {
    return wishes.get(wishKey(device, name))
  }

  function setWish(device: string, name: string, wish: Wish): void {
    wishes.set(wishKey(device, name), wish)
  }

  return { records, lost, changes: readonly(changes), newestFirst, take, adopt, catchUp, wishOf, setWish }
})

function wishKey(device: string, name: string): string {
  return JSON.stringify([device, name])
}

/** Oldest first. Times are ISO 8601 in one form, so that they compare as texts; the sort keeps the order of equal ones. */
function byTime(a: CommandRecord, b: CommandRecord): number {
  return a.queuedAt < b.queuedAt ? -1 : a.queuedAt > b.queuedAt ? 1 : 0
}

if (import.meta.hot) import.meta.hot.accept(acceptHMRUpdate(useCommands, import.meta.hot))
