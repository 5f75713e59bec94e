/** The whole stack for end-to-end tests: the real Worker, Durable Object, queues and databases, over HTTP. */
import { existsSync, globSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { createTestHarness } from 'wrangler'
import { configFor, root } from '../../scripts/local-shards.ts'
import { slotOf } from '../../src/core/ids.ts'
import { type Bearer, type Browser, bearer, browser } from './http-client.ts'

export const OPERATOR_TOKEN = 'an operator’s token, for tests'.replaceAll(/[^\w-]+/g, '-')
export const SIGNING_KEY = 'a key of at least 32 characters, for tests only'

const MAIL_WAIT_MS = 10_000
const MAIL_POLL_MS = 50

export interface StackOptions {
  /** How many databases are bound; the shipped configuration binds two. */
  shards?: number
  vars?: Record<string, string>
  secrets?: Record<string, string>
  /** False leaves the databases as the platform makes them: empty. */
  migrated?: boolean
}

export type MailKind = 'verify-email' | 'reset-password'

export interface Stack {
  url: URL
  /** The bound databases by binding name, in order: to look at, past the application. */
  databases: Map<string, D1Database>
  env: Record<string, unknown>
  /** A client that keeps cookies, as a browser does. */
  browser(): Browser
  /** A client that keeps a Bearer token and the newest causal token. */
  bearer(): Bearer
  /** Runs what the cron trigger runs. */
  cron(): Promise<void>
  /** The token in the newest mail of this kind to a user, once there are `count` of them. */
  mailedToken(kind: MailKind, userId: string, count?: number): Promise<string>
  /** How many mails of this kind a user was sent. */
  mailCount(kind: MailKind, userId: string): number
  close(): Promise<void>
}

/** Starts a stack of its own on a free port, with empty, migrated databases. */
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
  if (migrated) await Promise.all(names.map((name) => worker.applyD1Migrations(name as never)))
  const mails = (kind: MailKind, userId: string) => mailedTokens(url, startedAt, kind, userId)
  return {
    url,
    env,
    databases: new Map(names.map((name) => [name, env[name] as D1Database])),
    browser: () => browser(url),
    bearer: () => bearer(url),
    cron: async () => {
      await worker.scheduled({ cron: '* * * * *' })
    },
    mailCount: (kind, userId) => mails(kind, userId).length,
    async mailedToken(kind, userId, count = 1) {
      for (const deadline = Date.now() + MAIL_WAIT_MS; Date.now() < deadline; await sleep(MAIL_POLL_MS)) {
        const tokens = mails(kind, userId)
        if (tokens.length >= count) return tokens.at(-1)!
      }
      throw new Error(`no ${kind} mail to ${userId} within ${MAIL_WAIT_MS} ms`)
    },
    close: () => harness.close(),
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Its notes about each request, mail and queue batch would bury the test's own output. */
function quietWrangler(): void {
  process.env.WRANGLER_LOG ??= 'error'
  process.env.WRANGLER_SEND_METRICS ??= 'false'
  process.env.CLOUDFLARE_CF_FETCH_ENABLED ??= 'false'
}

/**
 * The tokens mailed to a user, oldest first. The local `send_email` writes each mail's text to a file of the project's
 * temporary folder; a mail of ours links to this stack's address, and its token's id is in the user's slot.
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

/** How many rows each table of each database holds, `SHARD_000.posts` → 3. */
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
