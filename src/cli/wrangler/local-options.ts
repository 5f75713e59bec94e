import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { UserError } from '../shell/errors.ts'
import type { OptionDefinitions, OptionValues } from '../shell/options.ts'
import { wholeNumber } from '../shell/whole-number.ts'
import { configFor, type LocalConfig } from './local-shards.ts'
import { shardBindings } from './shard-bindings.ts'

/** Which databases a command is about. */
export const databaseOptions = {
  remote: { help: 'the deployed databases instead of the local ones' },
  shards: { value: 'N', help: 'local: as for npm run dev -- --shards N' },
  'persist-to': { value: 'DIR', help: 'local: as for npm run dev -- --persist-to DIR' },
  config: { value: 'FILE', help: 'another wrangler.toml' },
} as const satisfies OptionDefinitions

export type LocalOptions = Omit<OptionValues<typeof databaseOptions>, 'remote'>

/** The local databases that `--shards`, `--config` and `--persist-to` name. */
export function localConfig(options: LocalOptions): LocalConfig {
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
export function refuseLocalOptions(options: LocalOptions): void {
  for (const name of ['shards', 'persist-to'] as const)
    if (options[name] !== undefined)
      throw new UserError(
        `--${name} is about local databases, and these are the deployed ones.`,
        'Leave it out; --config FILE says which.',
      )
}
