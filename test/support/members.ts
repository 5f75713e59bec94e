import { type SignUpInput, signUp } from '../../src/app/accounts/sign-up.ts'
import type { Session } from '../../src/sessions/sessions.ts'
import type { World } from './tiers.ts'
import { somebody } from './worker-isolate.ts'

/** A client that logs in without a User-Agent. */
export const anyClient = { origin: 'http://localhost', userAgent: '' }

export interface Member extends SignUpInput {
  userId: string
  token: string
  stamp: string
  session: Session
}

/** A user who has just signed up, after all jobs of the sign-up have run. KV shows the session's copy. */
export async function member(world: World): Promise<Member> {
  const isolate = world.isolate()
  const input = somebody()
  const { userId, token, stamp } = await signUp(isolate.tiers, input, {
    origin: 'http://localhost',
    userAgent: 'a browser',
    retry: null,
  })
  await isolate.afterResponse()
  world.kv.arrive()
  return { ...input, userId, token, stamp: stamp!, session: { id: token.split('.')[1]!, userId } }
}
