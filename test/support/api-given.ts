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

/** What a noun's own tests of the API, `test/e2e/<noun>/api.ts`, get from test/e2e/api.test.ts, whose stack they share. */
export interface ApiGiven {
  stack(): Stack
  /** A client each of whose answers is held against the OpenAPI document. */
  held<T extends Client>(client: T): T
  signUp(): Promise<Bearer & { user: User }>
  expectProblem(answer: Answer, status: number, code: string): ApiProblem
}
