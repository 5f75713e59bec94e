import { EngineDirectory } from '../src/objects/directory-object.ts'
import { EngineMover } from '../src/objects/mover-object.ts'
import { engineOf } from './engine.ts'
import type { Env } from './env.ts'

export class DirectoryObject extends EngineDirectory {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, engineOf(env))
  }
}

export class MoverObject extends EngineMover {
  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env, engineOf(env))
  }
}
