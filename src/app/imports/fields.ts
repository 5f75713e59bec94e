/** Why one user is not imported. It does not stop the import of others. */
export interface Refusal {
  code: string
  detail: string
}

/** Codes for a wrong field. `passwordHash` has none, because an unsupported hash is omitted. */
export const refusalCodes = {
  externalId: 'EXTERNAL_ID_INVALID',
  email: 'EMAIL_INVALID',
  handle: 'HANDLE_INVALID',
  displayName: 'DISPLAY_NAME_INVALID',
  bio: 'BIO_INVALID',
  createdAt: 'CREATED_AT_INVALID',
  emailVerifiedAt: 'EMAIL_VERIFIED_AT_INVALID',
} as const

/** The name of the application that users come from. */
export const sourceName = {
  pattern: /^[a-z0-9][a-z0-9._-]{0,63}$/,
  rule: '1 to 64 characters of a–z, 0–9, ".", "_" and "-"',
} as const
