export interface Mail {
  to: string
  subject: string
  text: string
  /** Says the same as `text`. */
  html: string
  /** Further headers, such as `List-Unsubscribe`. */
  headers?: Record<string, string>
  /** The same for every attempt of one job, so that a recipient can recognise a repeated mail. */
  messageId: string
}

/** Sends one mail. Throws if the platform refuses it or does not answer in time. */
export type SendMail = (mail: Mail) => Promise<void>
