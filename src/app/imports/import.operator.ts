import type { z } from '@hono/zod-openapi'
import type { Importer } from '../../cli/import/noun.ts'
import { refusalCodes, sourceName } from './fields.ts'
import type { ImportRecord } from './records.ts'
import type { importOutcome, verification } from './shapes.ts'

const PATH = '/operator/v1/imports'

interface Items<Shape extends z.ZodType> {
  items: z.infer<Shape>[]
}

/** Imports users of another application. */
export const operator: Importer<ImportRecord, z.infer<typeof importOutcome>> = {
  fields: {
    externalId: {
      columns: ['external_id', 'id', 'user_id', 'uuid'],
      isRequired: true,
      code: refusalCodes.externalId,
    },
    email: { columns: ['email', 'email_address', 'mail'], isRequired: true, code: refusalCodes.email },
    handle: {
      columns: ['handle', 'username', 'user_name', 'login', 'nickname'],
      isRequired: true,
      code: refusalCodes.handle,
    },
    displayName: { columns: ['display_name', 'name', 'full_name'], code: refusalCodes.displayName },
    bio: { columns: ['bio', 'about'], code: refusalCodes.bio },
    createdAt: { columns: ['created_at', 'created', 'date_joined', 'joined_at'], code: refusalCodes.createdAt },
    emailVerifiedAt: { columns: ['email_verified_at', 'email_verified'], code: refusalCodes.emailVerifiedAt },
    passwordHash: { columns: ['password_hash', 'password_digest', 'hashed_password', 'password'] },
  },
  reported: ['externalId', 'email', 'handle'],
  source: sourceName,
  remarks: [
    {
      name: 'withoutPassword',
      isOfRecord: ({ passwordHash }) => !passwordHash?.startsWith('$scrypt$'),
      isOfOutcome: ({ outcome, hasPassword }) => outcome !== 'refused' && !hasPassword,
      texts: {
        imported: (count) => `${count} have no password that this application can check. They must reset it by e-mail.`,
        dryRun: (count) => `${count} would have no password that this application can check.`,
      },
    },
  ],
  verified: 'each field, and the claims on e-mail address, handle and external id',
  examples: { mapping: 'handle=username,displayName=name', columns: ['id', 'email', 'username'] },
  loadRules: () => import('./record-rules.ts'),
  send: async (post, source, users) => (await post<Items<typeof importOutcome>>(PATH, { source, users })).items,
  verify: async (post, source, users) =>
    (await post<Items<typeof verification>>(`${PATH}/verifications`, { source, users })).items,
}
