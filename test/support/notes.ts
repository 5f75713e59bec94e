/** The example `examples/notes` over HTTP, with users who write notes and an operator who moves their slots. */
import path from 'node:path'
import { createTestHarness } from 'wrangler'
import { root } from '../../src/cli/shell/root.ts'

export const notesFolder = path.join(root, 'examples/notes')
const OPERATOR_TOKEN = 'an-operator-of-notes'
const MOVE_MS = 60_000
const POLL_MS = 50

export interface NotesStack {
  url: URL
  databases: Map<string, D1Database>
  close(): Promise<void>
}

/** Starts the example with empty, migrated databases. */
export async function startNotes(vars: Record<string, string>): Promise<NotesStack> {
  process.env.WRANGLER_LOG ??= 'error'
  process.env.CLOUDFLARE_CF_FETCH_ENABLED ??= 'false'
  const configPath = path.join(notesFolder, 'wrangler.toml')
  const harness = createTestHarness({ root, workers: [{ configPath, vars, secrets: { OPERATOR_TOKEN } }] })
  const { url } = await harness.listen()
  const worker = harness.getWorker<Record<string, unknown>>()
  const env = await worker.getEnv()
  const names = Object.keys(env)
    .filter((name) => /^SHARD_\d{3}$/.test(name))
    .sort()
  for (const name of names) await worker.applyD1Migrations(name as never)
  return {
    url,
    databases: new Map(names.map((name) => [name, env[name] as D1Database])),
    close: () => harness.close(),
  }
}

export interface Note {
  id: string
  text: string
}

interface Move {
  id: string
  state: string
}

/** Sends a request to the example; throws for any answer that is not 2xx. */
export async function ask<T>(
  url: URL,
  method: string,
  path: string,
  json?: object,
  token = OPERATOR_TOKEN,
): Promise<T> {
  const response = await fetch(new URL(path, url), {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: json ? JSON.stringify(json) : null,
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
  return JSON.parse(text) as T
}

export const newNotebook = async (url: URL): Promise<string> =>
  (await ask<{ id: string }>(url, 'POST', '/notebooks')).id

export const notesOf = async (url: URL, notebook: string): Promise<Note[]> =>
  (await ask<{ items: Note[] }>(url, 'GET', `/notebooks/${notebook}/notes`)).items

/** Moves the slots, and waits until the move is done and the source has no rows of them. */
export async function moveSlots(url: URL, slots: string, target: string, token = OPERATOR_TOKEN): Promise<void> {
  const { moves } = await ask<{ moves: Move[] }>(url, 'POST', '/operator/moves', { slots, target }, token)
  for (const { id } of moves)
    for (const deadline = Date.now() + MOVE_MS; ; await new Promise((resolve) => setTimeout(resolve, POLL_MS))) {
      const { move } = await ask<{ move: Move }>(url, 'GET', `/operator/moves/${id}`, undefined, token)
      if (move.state === 'done') break
      if (move.state === 'failed' || move.state === 'aborted' || Date.now() > deadline)
        throw new Error(`move ${id} did not end: ${JSON.stringify(move)}`)
    }
}

export interface Writer {
  notebook: string
  /** The acknowledged texts. */
  taken: string[]
  /** All other answers. */
  failed: string[]
  /** Stops after the current request. */
  stop(): Promise<void>
}

/** Writes one note after another to its own notebook, and reads the latest one back each time. */
export function writing(url: URL, notebook: string): Writer {
  const writer = { notebook, taken: [] as string[], failed: [] as string[] }
  let isStopped = false
  const run = async () => {
    for (let number = 0; !isStopped; number++) {
      const text = `note ${number}`
      try {
        const { note } = await ask<{ note: Note }>(url, 'POST', `/notebooks/${notebook}/notes`, { text })
        writer.taken.push(text)
        const read = await notesOf(url, notebook)
        if (!read.some(({ id }) => id === note.id)) writer.failed.push(`${note.id} was written but not read`)
      } catch (error) {
        writer.failed.push(String(error))
      }
    }
  }
  const ended = run()
  return {
    ...writer,
    async stop() {
      isStopped = true
      await ended
    },
  }
}

/** The shards that have rows of a notebook. */
export async function shardsOf({ databases }: NotesStack, notebook: string): Promise<string[]> {
  const found: string[] = []
  for (const [binding, database] of databases) {
    const statement = database.prepare('SELECT count(*) AS n FROM notes WHERE id >= ? AND id < ?')
    if ((await statement.bind(`${notebook}.`, `${notebook}/`).first<number>('n'))! > 0) found.push(binding)
  }
  return found
}
