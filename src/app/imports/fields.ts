/** Why a user isn't imported; the others are. */
export interface Refusal {
  code: string
  detail: string
}

/** Of a user with such a field. A password's hash is not among them: one that is not known here is left out. */
export const refusalCodes = {
  externalId: 'EXTERNAL_ID_INVALID',
  email: 'EMAIL_INVALID',
  handle: 'HANDLE_INVALID',
  displayName: 'DISPLAY_NAME_INVALID',
  bio: 'BIO_INVALID',
  createdAt: 'CREATED_AT_INVALID',
  emailVerifiedAt: 'EMAIL_VERIFIED_AT_INVALID',
} as const

/** Which application users come from. */
export const sourceName = {
  pattern: /^[a-z0-9][a-z0-9._-]{0,63}$/,
  rule: '1 to 64 of a–z, 0–9, ".", "_" and "-"',
} as const
