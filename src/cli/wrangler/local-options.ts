import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { UserError } from '../shell/errors.ts'
import type { OptionDefinitions, OptionValues } from '../shell/options.ts'
import { wholeNumber } from '../shell/whole-number.ts'
import { configFor, type LocalConfig } from './local-shards.ts'
import { shardBindings } from './shard-bindings.ts'

/** Options that select the databases of a command. */
export const databaseOptions = {
  remote: { help: 'use the deployed databases instead of the local ones' },
  shards: { value: 'N', help: 'local only: number of shards passed to npm run dev (default: those in wrangler.toml)' },
  'persist-to': { value: 'DIR', help: 'local only: folder passed to npm run dev (default: the one that it uses)' },
  config: { value: 'FILE', help: 'configuration of another account or application (default: wrangler.toml)' },
} as const satisfies OptionDefinitions

export type LocalOptions = Omit<OptionValues<typeof databaseOptions>, 'remote'>

/** The local databases that `--shards`, `--config` and `--persist-to` name. */
export function localConfig(options: LocalOptions): LocalConfig {
  const config = configFor(options.shards === undefined ? null : wholeNumber('--shards', options.shards, 1, 64))
  const configPath = options.config === undefined ? config.configPath : path.resolve(options.config)
  if (!existsSync(configPath))
    throw new UserError(`There is no ${configPath}.`, 'Pass the configuration that npm run dev uses with --config.')
  return {
    configPath,
    persistTo: options['persist-to'] === undefined ? config.persistTo : path.resolve(options['persist-to']),
    shards: shardBindings(readFileSync(configPath, 'utf8')).length,
  }
}

/** Refuses options that have no meaning for deployed databases. Throws UserError. */
export function refuseLocalOptions(options: LocalOptions): void {
  for (const name of ['shards', 'persist-to'] as const)
    if (options[name] !== undefined)
      throw new UserError(
        `--${name} selects local databases, but this command uses the deployed ones.`,
        `Remove --${name}, and select the configuration with --config FILE.`,
      )
}
