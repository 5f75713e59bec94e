import { migrations } from '../dist/migrations.ts'
import { present } from '../src/core/present.ts'
import type { Engine } from '../src/objects/engine.ts'
import { readEngineSettings } from '../src/objects/settings.ts'
import { boundShards } from '../src/sharding/bound-shards.ts'
import type { Env } from './env.ts'

/** This Worker's input to the engine. Throws SETTING_MISSING. */
export const engineOf = (env: Env): Engine => ({
  directory: env.DIRECTORY,
  mover: env.MOVER,
  shards: boundShards(env),
  newestMigration: present(migrations.at(-1), 'a migration'),
  ...readEngineSettings(env),
})
