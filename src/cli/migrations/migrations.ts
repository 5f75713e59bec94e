import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openDeployment } from '../deploy/deployment.ts'
import type { Command, Output } from '../shell/command.ts'
import { UserError } from '../shell/errors.ts'
import type { OptionName, OptionValues } from '../shell/options.ts'
import { counted, table } from '../shell/table.ts'
import { wholeNumber } from '../shell/whole-number.ts'
import { configFor, type LocalConfig, withLocalShards } from '../wrangler/local-shards.ts'
import { shardBindings } from '../wrangler/shard-bindings.ts'
import { type MigratedShard, type MigrationRun, migrateShards, migrationStatus } from './migrate.ts'
import { remoteShards } from './remote-shards.ts'
import { type Migration, readMigrations } from './shard-migrations.ts'

const AT_ONCE = 6
const AT_ONCE_MAX = 32
const where: OptionName[] = ['remote', 'shards', 'config', 'persist-to']

/** The local databases that `--shards`, `--config` and `--persist-to` name. */
export function localConfig(options: OptionValues): LocalConfig {
  const config = configFor(options.shards === undefined ? null : wholeNumber('--shards', options.shards, 1, 64))
  const configPath = options.config === undefined ? config.configPath : path.resolve(options.config)
  if (!existsSync(configPath)) throw new UserError(`There is no ${configPath}.`, 'Give the one that npm run dev uses.')
  return {
    configPath,
    persistTo: options['persist-to'] === undefined ? config.persistTo : path.resolve(options['persist-to']),
    shards: shardBindings(readFileSync(configPath, 'utf8')).length,
  }
}

/** For the deployed databases these options say nothing. Throws UserError. */
export function refuseLocalOptions(options: OptionValues): void {
  for (const name of ['shards', 'persist-to'] as const)
    if (options[name] !== undefined)
      throw new UserError(
        `--${name} is about local databases, and these are the deployed ones.`,
        'Leave it out; --config FILE says which.',
      )
}

/** The local databases; with `--remote` the deployed ones that the configuration names. */
async function withShards<T>(options: OptionValues, use: (shards: MigratedShard[]) => Promise<T>): Promise<T> {
  if (!options.remote) return withLocalShards(localConfig(options), use)
  refuseLocalOptions(options)
  const say = (line: string) => void process.stderr.write(`${line}\n`)
  return use(await remoteShards(openDeployment({ config: options.config, environment: process.env, sleep, say })))
}

async function status(_connect: unknown, _operands: string[], options: OptionValues): Promise<Output> {
  const statuses = await withShards(options, (shards) => migrationStatus(shards, readMigrations(), AT_ONCE))
  const rows = statuses.map(({ binding, newest, pending }) => [binding, newest ?? 'none', pending.join(', ') || '–'])
  const lagging = statuses.filter(({ pending }) => pending.length > 0)
  const summary =
    lagging.length === 0
      ? `${counted(statuses.length, 'shard')}, all migrated.`
      : `${lagging.length} of ${counted(statuses.length, 'shard')} lag. Run: npm run banyan -- migrations apply${options.remote ? ' --remote' : ''}`
  return { json: { items: statuses }, text: `${table(['shard', 'newest', 'pending'], rows, 3)}\n\n${summary}` }
}

async function apply(_connect: unknown, _operands: string[], options: OptionValues): Promise<Output> {
  const atOnceMax = wholeNumber('--at-once', options['at-once'] ?? String(AT_ONCE), 1, AT_ONCE_MAX)
  const run = await withShards(options, (shards) =>
    applied(shards, readMigrations(), options.canary ?? null, atOnceMax),
  )
  return { json: run, text: outcome(run), isFailure: run.failed.length > 0 }
}

function applied(shards: MigratedShard[], migrations: Migration[], canary: string | null, atOnceMax: number) {
  if (canary !== null && !shards.some(({ binding }) => binding === canary))
    throw new UserError(
      `There is no shard bound as ${canary}.`,
      `Bound: ${shards.map(({ binding }) => binding).join(', ')}`,
    )
  const { stderr } = process
  const width = String(shards.length).length
  return migrateShards(shards, {
    migrations,
    canary,
    atOnceMax,
    onProgress: (done, all, said) => stderr.write(`${String(done).padStart(width)} of ${all}  ${said}\n`),
  })
}

function outcome({ applied, done, failed, untouched }: MigrationRun): string {
  if (failed.length === 0)
    return applied === 0
      ? 'Every shard is migrated.'
      : `Applied ${counted(applied, 'migration')} to ${counted(done.length, 'shard')}.`
  const lines = failed.map(
    ({ binding, migration, reason }) => `${migration} failed on ${binding}, and nothing of it was applied: ${reason}`,
  )
  const rest = untouched.length === 0 ? '' : ` ${counted(untouched.length, 'shard')} not touched.`
  return `${lines.join('\n')}\n${counted(done.length, 'shard')} migrated.${rest} Mend it and run it again: it goes on where it stopped.`
}

export const migrationCommands: Record<string, Command> = {
  'migrations status': { operands: [], options: where, run: status },
  'migrations apply': { operands: [], options: [...where, 'canary', 'at-once'], run: apply },
}
