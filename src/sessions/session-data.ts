import { BanyanError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'

type Json = string | number | boolean | null | Json[] | { [key: string]: Json }

/** The data of a session: values by key. */
export type SessionData = Partial<Record<string, Json>>

/** New values by key. `null` removes a key. Keys that are not named keep their values. */
export type SessionDataChange = Record<string, Json>

/** Paths in SQLite's JSON functions contain the key unescaped. */
const KEY = /^[a-z][a-z0-9_]*$/i
const KEYS_MAX = 10 // per change; an SQL function takes at most 32 arguments in D1

/**
 * The SQL of `data` with the change applied, and its values. SQLite merges, so writers of different keys do not
 * overwrite each other. Throws SESSION_DATA_TOO_LARGE if the new values alone exceed the limit.
 */
export function changedData(change: SessionDataChange): { sql: string; values: string[] } {
  const keys = Object.keys(change)
  const wrong = keys.find((key) => !KEY.test(key))
  if (wrong !== undefined) throw new Error(`A key of session data is a letter, then letters, digits or _: ${wrong}`)
  if (keys.length > KEYS_MAX) throw new Error(`A change of session data has at most ${KEYS_MAX} keys.`)
  const kept = Object.entries(change).filter(([, value]) => value !== null)
  if (Buffer.byteLength(JSON.stringify(Object.fromEntries(kept))) > limits.sessionDataBytesMax) throw dataTooLarge()
  const removed = keys.filter((key) => change[key] === null)
  const rest = removed.length === 0 ? 'data' : `json_remove(data${', ?'.repeat(removed.length)})`
  return {
    sql: kept.length === 0 ? rest : `json_set(${rest}${', ?, json(?)'.repeat(kept.length)})`,
    values: [...removed.map(pathOf), ...kept.flatMap(([key, value]) => [pathOf(key), JSON.stringify(value)])],
  }
}

const pathOf = (key: string): string => `$.${key}`

export const dataTooLarge = (): BanyanError =>
  new BanyanError(
    'SESSION_DATA_TOO_LARGE',
    `A session stores at most ${limits.sessionDataBytesMax} bytes of data as JSON. Store less, or store it in a table.`,
  )
