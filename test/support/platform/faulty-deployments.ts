import { expect } from 'vitest'
import { UserError } from '../../../src/cli/shell/errors.ts'
import { type PlatformDouble, startPlatform } from './double.ts'
import type { Fault } from './http.ts'
import { type SmallDeployment, smallDeployment } from './small-deployment.ts'

/** A double of its own, with nothing in it yet. */
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

/** What a deployment with no fault ends in, and how many calls it takes. */
export async function cleanRun(): Promise<{ snapshot: unknown; calls: number }> {
  let clean = { snapshot: null as unknown, calls: 0 }
  await inAnotherWorld(async (world, its) => {
    await its.deploy()
    clean = { snapshot: await world.snapshot(), calls: world.calls.length }
  })
  return clean
}

/** A deployment whose n-th call fails, and then another: together they must end where a clean one does. */
export async function deployTwice(number: number, fault: Fault | 'away from here on', clean: unknown): Promise<void> {
  const what = `${fault}, at call ${number}`
  await inAnotherWorld(async (world, its) => {
    if (fault === 'away from here on') world.goAwayAt(number)
    else world.failAt(number, fault)
    const error = await failure(its, what)
    if (fault === 'away from here on') expect(error, what).not.toBeNull()
    world.recover()
    const { json } = await its.deploy()
    expect(await world.snapshot(), what).toEqual(clean)
    if (error === null) return
    // Set by whichever run: its token is told by the one that ends well.
    const secret = world.scripts.get('banyan').live!.bindings.find(({ name }) => name === 'OPERATOR_TOKEN')!
    expect((json as { operatorToken?: string }).operatorToken, what).toBe(secret.text)
  })
}

/** A run may recover by itself. When it doesn't, it says what happened and how to mend it. */
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
