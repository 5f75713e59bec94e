import path from 'node:path'
import { createTestHarness, type TestHarness, unstable_readConfig } from 'wrangler'
import { readMigrations } from '../../src/cli/migrations/shard-migrations.ts'
import { root } from '../../src/cli/shell/root.ts'
import { configFor } from '../../src/cli/wrangler/local-shards.ts'

export interface StackOptions {
  shards: number
  /** Number of web workers that share the same stores. */
  webs: number
  vars: Record<string, string>
}

export interface Stack {
  /** Sends a request to the n-th web worker. */
  fetch(web: number, path: string, init?: RequestInit): Promise<Response>
  /**
   * Breaks bindings of the n-th web worker (`SHARD_001,KV`, or `WEB` for the whole worker), or restores all of them
   * ('').
   */
  breakDown(web: number, bindings: string): Promise<void>
  close(): Promise<void>
}

const webName = (index: number) => `banyan-web-${index + 1}`

/**
 * The application on empty stores of its own, as `wrangler.toml` describes it except for the number of shards and web
 * workers.
 */
export async function startStack(options: StackOptions): Promise<Stack> {
  const broken = Array.from({ length: options.webs }, () => '')
  const harness = createTestHarness(harnessOptions(options, broken))
  await harness.listen()
  await migrate(harness, options.shards)
  return {
    fetch: (web, pathname, init) =>
      harness.getWorker(webName(web)).fetch(pathname, init as never) as unknown as Promise<Response>,
    async breakDown(web, bindings) {
      broken[web] = bindings
      await harness.update(harnessOptions(options, broken))
    },
    close: () => harness.close(),
  }
}

function harnessOptions({ shards, webs, vars }: StackOptions, broken: string[]) {
  const { configPath } = configFor(shards)
  const shipped = unstable_readConfig({ config: configPath })
  const {
    d1_databases,
    kv_namespaces,
    r2_buckets,
    queues,
    ratelimits,
    send_email,
    images,
    assets,
    compatibility_date,
    compatibility_flags,
  } = shipped
  return {
    root,
    workers: Array.from({ length: webs }, (_, index) => ({
      config: {
        name: webName(index),
        main: path.join(root, 'scripts/journey/worker.ts'),
        compatibility_date,
        compatibility_flags,
        d1_databases,
        kv_namespaces,
        r2_buckets,
        ratelimits,
        send_email,
        images,
        assets,
        // A queue has one consumer and there is one directory, so both belong to the first worker.
        queues: index === 0 ? queues : { producers: queues.producers },
        durable_objects: {
          bindings: [
            { name: 'DIRECTORY', class_name: 'DirectoryObject', ...(index === 0 ? {} : { script_name: webName(0) }) },
          ],
        },
        ...(index === 0 ? { migrations: [{ tag: 'v1', new_sqlite_classes: ['DirectoryObject'] }] } : {}),
        vars: {
          SIGNING_KEY: 'a key for the journey, which ends with its process',
          LEASE_MS: '30000',
          GRACE_MS: '300000',
          RATE_LIMITS: 'off',
          MAIL_FROM: 'banyan@example.com',
          JOBS: 'queue',
          ...vars,
          BROKEN: broken[index]!,
        },
      },
    })),
  }
}

async function migrate(harness: TestHarness, shards: number): Promise<void> {
  const env = await harness.getWorker<Record<string, D1Database>>(webName(0)).getEnv()
  for (let index = 0; index < shards; index++) {
    const database = env[`SHARD_${String(index).padStart(3, '0')}`]!
    for (const { statements } of readMigrations())
      await database.batch(statements.map((statement) => database.prepare(statement)))
  }
}
