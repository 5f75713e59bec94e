/** The whole stack for end-to-end tests: the real Worker, Durable Object, queues and databases, over HTTP. */
import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { createTestHarness } from 'wrangler'
import { root } from '../../src/cli/shell/root.ts'
import { configFor } from '../../src/cli/wrangler/local-shards.ts'
import { eachAtMost } from '../../src/core/bounded.ts'
import { slotOf } from '../../src/core/ids.ts'
import { type Bearer, type Browser, bearer, browser } from './http-client.ts'

export const OPERATOR_TOKEN = 'an operator’s token, for tests'.replaceAll(/[^\w-]+/g, '-')
export const SIGNING_KEY = 'a key of at least 32 characters, for tests only'

const WAIT_MS = 10_000
const POLL_MS = 50

export interface StackOptions {
  /** The number of bound databases; the shipped configuration binds two. */
  shards?: number
  vars?: Record<string, string>
  secrets?: Record<string, string>
  /** False leaves the databases empty, as the platform creates them. */
  migrated?: boolean
}

type MailKind = 'verify-email' | 'reset-password' | 'confirm-email'

export interface Stack {
  url: URL
  /** The bound databases by binding name, in order, for direct inspection. */
  databases: Map<string, D1Database>
  env: Record<string, unknown>
  /** A client that keeps cookies, like a browser. */
  browser(): Browser
  /** A client that keeps a Bearer token and the newest causal token. */
  bearer(): Bearer
  /** The owner of a slot (0–65,535) by the directory's own tables, as a binding's name, by keyspace. */
  slotOwners(): Promise<Record<string, (slot: number) => string>>
  /** Runs the cron trigger's work. */
  cron(): Promise<void>
  /** The token in the newest mail of this kind to a user, once there are `count` of them. */
  mailedToken(kind: MailKind, userId: string, count?: number): Promise<string>
  /** The number of mails of this kind that a user was sent. */
  mailCount(kind: MailKind, userId: string): number
  close(): Promise<void>
}

/** Starts its own stack on a free port, with empty, migrated databases. */
export async function startStack({
  shards,
  vars = {},
  secrets = {},
  migrated = true,
}: StackOptions = {}): Promise<Stack> {
  quietWrangler()
  const startedAt = Date.now()
  const harness = createTestHarness({
    root,
    workers: [
      {
        configPath: configFor(shards ?? null).configPath,
        vars: { RATE_LIMITS: 'off', LEASE_MS: '2000', GRACE_MS: '5000', ...vars },
        secrets: { SIGNING_KEY, OPERATOR_TOKEN, ...secrets },
      },
    ],
  })
  const { url } = await harness.listen()
  const worker = harness.getWorker<Record<string, unknown>>()
  const env = await worker.getEnv()
  const names = Object.keys(env)
    .filter((name) => /^SHARD_\d{3}$/.test(name))
    .sort()
  // The runtime closes connections of 64 migrations at once.
  if (migrated) await eachAtMost(8, names, (name) => worker.applyD1Migrations(name as never))
  const mails = (kind: MailKind, userId: string) => mailedTokens(url, startedAt, kind, userId)
  return {
    url,
    env,
    databases: new Map(names.map((name) => [name, env[name] as D1Database])),
    browser: () => browser(url),
    bearer: () => bearer(url),
    async slotOwners() {
      const storage = await worker.getDurableObjectStorage('DIRECTORY' as never, { name: 'directory' })
      const rows = await storage.exec(
        'SELECT keyspace, start, binding FROM runs JOIN shards ON ordinal = shard ORDER BY start DESC',
      )
      const runs = rows as unknown as { keyspace: string; start: number; binding: string }[]
      const ownerIn = (keyspace: string) => (slot: number) =>
        runs.find((run) => run.keyspace === keyspace && run.start <= slot)!.binding
      return Object.fromEntries(runs.map(({ keyspace }) => [keyspace, ownerIn(keyspace)]))
    },
    cron: async () => {
      await worker.scheduled({ cron: '* * * * *' })
    },
    mailCount: (kind, userId) => mails(kind, userId).length,
    async mailedToken(kind, userId, count = 1) {
      await until(`${kind} mail ${count} to ${userId}`, async () => mails(kind, userId).length >= count)
      return mails(kind, userId).at(-1)!
    },
    close: () => harness.close(),
  }
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + WAIT_MS; !(await holds()); await sleep(POLL_MS))
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_MS} ms without success: ${what}`)
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** wrangler's notes about each request, mail and queue batch would hide the test's own output. */
function quietWrangler(): void {
  process.env.WRANGLER_LOG ??= 'error'
  process.env.WRANGLER_SEND_METRICS ??= 'false'
  process.env.CLOUDFLARE_CF_FETCH_ENABLED ??= 'false'
}

/**
 * The tokens mailed to a user, oldest first. The local `send_email` writes each mail's text to a file in the project's
 * temporary folder. A mail of this stack links to its address, and its token's id is in the user's slot.
 */
function mailedTokens(url: URL, startedAt: number, kind: MailKind, userId: string): string[] {
  const link = new RegExp(`${url.origin}/${kind}/(${slotOf(userId)}[^\\s]+)`)
  return globSync('.wrangler/tmp/email/*/email-text/*.txt', { cwd: root })
    .map((file) => path.join(root, file))
    .filter((file) => existsSync(file))
    .map((file) => ({ file, at: statSync(file).mtimeMs }))
    .filter(({ at }) => at >= startedAt - 1_000)
    .sort((a, b) => a.at - b.at)
    .flatMap(({ file }) => link.exec(readFileSync(file, 'utf8'))?.[1] ?? [])
}

/** The number of rows per table and database, for example `SHARD_000.posts` → 3. */
export async function rowCounts({ databases }: Pick<Stack, 'databases'>): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const [binding, database] of databases) {
    const { results: tables } = await database
      .prepare(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '_cf_%' ORDER BY name",
      )
      .all<{ name: string }>()
    const sums = await database.batch<{ n: number }>(
      tables.map(({ name }) => database.prepare(`SELECT count(*) AS n FROM "${name}"`)),
    )
    tables.forEach(({ name }, index) => {
      counts[`${binding}.${name}`] = sums[index]!.results[0]!.n
    })
  }
  return counts
}

/** Waits until all consequences of the writes are complete: no job is waiting or running. */
export async function outboxesDrained(stack: Pick<Stack, 'databases'>): Promise<void> {
  await until('empty outboxes', async () => {
    const counts = Object.entries(await rowCounts(stack))
    return counts.every(([table, rows]) => !table.endsWith('.outbox') || rows === 0)
  })
}
