'use client'

export { AuthProvider, type AuthProviderProps, type Navigate } from './auth-provider.tsx'
export { ProtectedRoute, type ProtectedRouteProps } from './protected-route.tsx'
export { takeReturnPath } from './return-path.ts'
export { type Auth, useAuth } from './use-auth.ts'
export { createStepUpPrompt, type StepUp, type StepUpPrompt, useStepUp } from './use-step-up.ts'
