import { isObject } from '../wire/decode'
import type { Json } from '../wire/types'

/** One visible line of the state tree. */
export interface TreeRow {
  /** JSON pointer; unique. */
  readonly path: string
  readonly key: string
  /** 1 for top-level members. */
  readonly level: number
  readonly value: Json
  readonly branch: boolean
  readonly open: boolean
}

export interface TreeView {
  readonly rows: readonly TreeRow[]
  /** Whether there are more lines than were asked for. */
  readonly truncated: boolean
}

export interface TreeOptions {
  /** Pointers of the branches that are open. */
  readonly expanded: ReadonlySet<string>
  /** Shows only what matches in key, pointer or value, with its ancestors, whatever is open. */
  readonly query: string
  readonly limit: number
}

/** The visible lines of a document, in order. */
export function treeRows(document: Json, options: TreeOptions): TreeView {
  const needle = options.query.trim().toLowerCase()
  const rows: TreeRow[] = []

  /** Adds the lines below a container and says whether any was added. Stops one line above the limit. */
  function below(container: Json, prefix: string, level: number, shownByAncestor: boolean): boolean {
    let any = false
    for (const [key, value] of childrenOf(container)) {
      if (rows.length > options.limit) return true
      const path = `${prefix}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
      const branch = isBranch(value)
      const hit = shownByAncestor || needle === '' || matches(key, path, value, needle)
      const at = rows.length
      const open = branch && (options.expanded.has(path) || needle !== '')
      rows.push({ path, key, level, value, branch, open })
      if (needle === '') {
        if (open) below(value, path, level + 1, false)
        any = true
        continue
      }
      // A branch that matches by its own name shows its content only if it is open; one that does not, only what matches inside.
      const showAll = hit && options.expanded.has(path)
      const inside = branch && below(value, path, level + 1, showAll)
      if (branch && !inside) rows[at] = { path, key, level, value, branch, open: false }
      if (hit || inside) any = true
      else rows.length = at
    }
    return any
  }

  below(document, '', 1, false)
  return { rows: rows.slice(0, options.limit), truncated: rows.length > options.limit }
}

/** Pointers of all branches, for "expand all". */
export function branchPaths(document: Json): Set<string> {
  const paths = new Set<string>()
  function visit(container: Json, prefix: string): void {
    for (const [key, value] of childrenOf(container)) {
      if (!isBranch(value)) continue
      const path = `${prefix}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
      paths.add(path)
      visit(value, path)
    }
  }
  visit(document, '')
  return paths
}

/** A value in one line. */
export function describeValue(value: Json): string {
  if (isArray(value)) return value.length === 0 ? '[ ]' : `${value.length} ${value.length === 1 ? 'element' : 'elements'}`
  if (isObject(value)) {
    const count = Object.keys(value).length
    return count === 0 ? '{ }' : `${count} ${count === 1 ? 'member' : 'members'}`
  }
  return JSON.stringify(value)
}

function matches(key: string, path: string, value: Json, needle: string): boolean {
  if (key.toLowerCase().includes(needle)) return true
  if (needle.startsWith('/')) return path.toLowerCase().startsWith(needle)
  return (typeof value !== 'object' || value === null) && String(value).toLowerCase().includes(needle)
}

function childrenOf(value: Json): (readonly [string, Json])[] {
  if (isArray(value)) return value.map((item, index) => [String(index), item] as const)
  return isObject(value) ? Object.entries(value) : []
}

function isBranch(value: Json): boolean {
  return typeof value === 'object' && value !== null && childrenOf(value).length > 0
}

function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}
