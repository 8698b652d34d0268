"""Any function, searched for the smallest input of its ranges that breaks it; exact arithmetic on its code is right."""
