import { expect } from 'vitest'
import { UserError } from '../../../src/cli/shell/errors.ts'
import { type PlatformDouble, startPlatform } from './double.ts'
import type { Fault } from './http.ts'
import { type SmallDeployment, smallDeployment } from './small-deployment.ts'

/** A double of its own that is still empty. */
export async function inAnotherWorld(
  body: (world: PlatformDouble, its: SmallDeployment) => Promise<void>,
): Promise<void> {
  const world = await startPlatform({ serving: 'stand-in' })
  const its = smallDeployment(world)
  try {
    await body(world, its)
  } finally {
    its.close()
    await world.close()
  }
}

/** The state after a deployment without a fault, and the number of its calls. */
export async function cleanRun(): Promise<{ snapshot: unknown; calls: number }> {
  let clean = { snapshot: null as unknown, calls: 0 }
  await inAnotherWorld(async (world, its) => {
    await its.deploy()
    clean = { snapshot: await world.snapshot(), calls: world.calls.length }
  })
  return clean
}

/** A deployment whose n-th call fails, and then another. Together they must lead to the same state as a clean one. */
export async function deployTwice(
  number: number,
  fault: Fault | 'unreachable from here on',
  clean: unknown,
): Promise<void> {
  const what = `${fault}, at call ${number}`
  await inAnotherWorld(async (world, its) => {
    if (fault === 'unreachable from here on') world.goAwayAt(number)
    else world.failAt(number, fault)
    const error = await failure(its, what)
    if (fault === 'unreachable from here on') expect(error, what).not.toBeNull()
    world.recover()
    const { json } = await its.deploy()
    expect(await world.snapshot(), what).toEqual(clean)
    if (error === null) return
    // Either run may have set the secret; the run that succeeds prints its token.
    const secret = world.scripts.get('banyan').live!.bindings.find(({ name }) => name === 'OPERATOR_TOKEN')!
    expect((json as { operatorToken?: string }).operatorToken, what).toBe(secret.text)
  })
}

/** A run may recover by itself. If it does not, its message says what happened and how to fix it. */
async function failure(its: SmallDeployment, what: string): Promise<UserError | null> {
  try {
    await its.deploy()
    return null
  } catch (error) {
    expect(error, what).toBeInstanceOf(UserError)
    expect((error as UserError).fix, what).not.toBe('')
    return error as UserError
  }
}
