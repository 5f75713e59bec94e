import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { DirectoryObject } from '../../workers/coordinator.ts'
import type { Env } from '../../workers/env.ts'

let real: DirectoryObject['wakeMovers'] | undefined

/** Sets what the directory does to wake the movers of moves that can start; null restores the real function. */
export async function wakeMoversBy(wake: DirectoryObject['wakeMovers'] | null): Promise<void> {
  const { DIRECTORY } = env as unknown as Env
  await runInDurableObject(DIRECTORY.get(DIRECTORY.idFromName('directory')), (instance: DirectoryObject) => {
    real ??= instance.wakeMovers
    instance.wakeMovers = wake ?? real
  })
}
