-- The health of an Application or a MaskinportenClient for Argo CD, by its condition Ready.
local health = {status = "Progressing", message = "The operator has yet to look at this version"}
if obj.status == nil or obj.status.conditions == nil then
  return health
end
for _, condition in ipairs(obj.status.conditions) do
  if condition.type == "Ready" and condition.observedGeneration == obj.metadata.generation then
    health.message = condition.reason .. ": " .. condition.message
    if condition.status == "True" then
      health.status = "Healthy"
    elseif condition.status == "False" then
      health.status = "Degraded"
    end
  end
end
return health
