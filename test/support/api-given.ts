import type { Answer, Bearer, Client } from './http-client.ts'
import type { Stack } from './stack.ts'

export interface User {
  id: string
  handle: string
  displayName: string
  bio: string
  email?: string
  emailVerified?: boolean
}

export type SignedIn = { user: User; token: string }

export type ApiProblem = { code: string; requestId: string; errors?: { pointer: string }[] }

/**
 * The arguments of a noun's own API tests, `test/e2e/<noun>/api.ts`. test/e2e/api.test.ts passes them and shares its
 * stack.
 */
export interface ApiGiven {
  stack(): Stack
  /** A client that checks each answer against the OpenAPI document. */
  held<T extends Client>(client: T): T
  signUp(): Promise<Bearer & { user: User }>
  expectProblem(answer: Answer, status: number, code: string): ApiProblem
}
